package market

import "strings"

// ErrorKind is what an error means to the one who asked. It becomes an HTTP status in one
// place, console/web.
type ErrorKind int

const (
	Internal  ErrorKind = iota // our fault: logged in full, shown as "internal error"
	Invalid                    // the request is malformed
	Denied                     // the actor may not do this
	Missing                    // there is no such thing, or the actor may not know of it
	Conflict                   // the thing is not in a state that allows this
	SignedOut                  // nobody is signed in, or the session is over
	Slow                       // too many tries; Error.After says when to try again
	Down                       // something we need does not answer; try again
)

// Error is an error that a person should read. Its text is the word Code in the reader's
// language, with Args filled in.
type Error struct {
	Kind   ErrorKind
	Code   string            // stable: "order.cannot_cancel"; also the word's key, under "error."
	Args   map[string]string // what the text fills in
	Fields []Field           // faults of single fields of a form
	After  int               // seconds until it makes sense to try again; 0 if unknown
	Err    error             // what lies behind; logged, never shown
}

// Field is a fault of one field of a form.
type Field struct {
	Name string            // as in the form and the JSON body
	Code string            // the word's key, under "error."
	Args map[string]string // what the text fills in
}

// Error is the stable code with what lies behind, for logs.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Code)
	for _, f := range e.Fields {
		b.WriteString(" " + f.Name + ":" + f.Code)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap is what lies behind.
func (e *Error) Unwrap() error { return e.Err }

// NotFound is the error for a thing that is not there, or not the actor's to see.
func NotFound(code string) *Error { return &Error{Kind: Missing, Code: code} }

// Form collects the faults of a form, so that they come back together.
type Form struct{ faults []Field }

// Fault notes that a field is wrong; args are name, value pairs for the text.
func (f *Form) Fault(field, code string, args ...string) {
	f.faults = append(f.faults, Field{Name: field, Code: code, Args: pairs(args)})
}

// Check notes a fault if ok is false.
func (f *Form) Check(ok bool, field, code string, args ...string) {
	if !ok {
		f.Fault(field, code, args...)
	}
}

// Err is nil if nothing was wrong.
func (f *Form) Err() error {
	if len(f.faults) == 0 {
		return nil
	}
	return &Error{Kind: Invalid, Code: "form.invalid", Fields: f.faults}
}

func pairs(args []string) map[string]string {
	if len(args) == 0 {
		return nil
	}
	m := make(map[string]string, len(args)/2)
	for i := 0; i+1 < len(args); i += 2 {
		m[args[i]] = args[i+1]
	}
	return m
}
