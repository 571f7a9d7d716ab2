// Package casetest asks a gateway what it makes of malformed and hostile HTTP. It reads
// cases, sends each as the bytes that it is, keeps what a seller's server of its own sees,
// byte for byte, and judges both by what the case expects.
//
// The promise behind the cases: for every byte sequence that a client can send, the seller
// sees either nothing or exactly the requests that the gateway authenticated and metered,
// and every call that was metered was one try at the seller.
package casetest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// Case is one line of a file of cases.
type Case struct {
	ID, Group, Title, RFC string
	Level                 string // "must" or "should"
	Raw                   string // what the client sends, a character a byte
	Blocks                map[string]string
	HalfClose             bool `json:"half_close"`
	Drip                  int
	Split                 bool

	Upstream *string // what the seller answers; nil: what is usual
	Method   string
	Then     string // "close" or "reset" after the answer; empty: neither
	Tries    *int   // how often the seller may be asked; nil: once
	Single   []string

	Verdict2 string
	Expect   Expect
}

// Expect is how a case must end.
type Expect struct {
	Verdict   string // "reject", "forward" or "either"
	Requests  []Want // nil: any
	N         *int
	Responses *int
	Status    Statuses
	Close     bool
	Absent    []string
	Present   []string
	PresentRE []string `json:"present_re"`
	Tail      string

	Client string // "clean", "bad", "cut" or "either"
	Body   *string
}

// Want is a request that the seller must see.
type Want struct{ Method, Suffix, Body string }

// Statuses are written as a number or as a list of them.
type Statuses []int

// UnmarshalJSON reads either.
func (s *Statuses) UnmarshalJSON(b []byte) error {
	var one int
	if err := json.Unmarshal(b, &one); err == nil {
		*s = Statuses{one}
		return nil
	}
	return json.Unmarshal(b, (*[]int)(s))
}

// Read reads a file of cases.
func Read(r io.Reader) (list []Case, err error) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var c Case
		if err := json.Unmarshal(in.Bytes(), &c); err != nil {
			return nil, fmt.Errorf("case %d: %w", len(list)+1, err)
		}
		list = append(list, c)
	}
	return list, in.Err()
}

// Outcome is how a case ended.
type Outcome struct {
	Unsafe string // why what happened is dangerous; empty: it is not
	Wrong  string // in what it differs from what is expected; empty: in nothing
	Whole  int    // requests that the seller saw whole
}

func (o *Outcome) unsafe(format string, args ...any) {
	if o.Unsafe == "" {
		o.Unsafe = fmt.Sprintf(format, args...)
	}
	o.wrong(format, args...)
}

func (o *Outcome) wrong(format string, args ...any) {
	if o.Wrong == "" {
		o.Wrong = fmt.Sprintf(format, args...)
	}
}
