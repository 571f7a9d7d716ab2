package signer

import (
	"bytes"
	"cmp"
	"math/bits"
	"slices"
	"strings"
)

// Form says how a string to sign differs from the canonical one; protocol section 4.3.
// It is a set of switches, each made for libraries that sign in that way.
type Form uint8

// The switches. None of them is the canonical form.
const (
	Canonical   Form = 0
	PathDecoded Form = 1 << (iota - 1) // the path percent-decoded, + left alone
	ParamsRaw                          // query parameters as on the wire; form fields stay decoded
	EmptyEquals                        // an empty value leaves "name=", not "name"
	RepeatJoin                         // all values of a repeated name, joined by commas
	QueryWins                          // of a name in query and form, the query's value

	allSwitches = PathDecoded | ParamsRaw | EmptyEquals | RepeatJoin | QueryWins
)

var switchNames = []struct {
	form Form
	name string
}{
	{PathDecoded, "path:decoded"},
	{ParamsRaw, "params:raw"},
	{EmptyEquals, "empty:key="},
	{RepeatJoin, "repeat:comma-joined"},
	{QueryWins, "collision:query-wins"},
}

// String names the form as the vectors do: "canonical", or the switches with + between.
func (f Form) String() string {
	var names []string
	for _, s := range switchNames {
		if f&s.form != 0 {
			names = append(names, s.name)
		}
	}
	if names == nil {
		return "canonical"
	}
	return strings.Join(names, "+")
}

// others lists every form but the canonical one, those with fewer switches first.
var others = func() []Form {
	var forms []Form
	for f := Canonical + 1; f <= allSwitches; f++ {
		forms = append(forms, f)
	}
	slices.SortStableFunc(forms, func(a, b Form) int {
		return cmp.Compare(bits.OnesCount8(uint8(a)), bits.OnesCount8(uint8(b)))
	})
	return forms
}()

// pair is a parameter.
type pair struct {
	name, value []byte
	at          int  // its place in the query or the form, since the first of a name counts
	form        bool // of the form, not the query
}

func comparePairs(a, b pair) int {
	if c := bytes.Compare(a.name, b.name); c != 0 {
		return c
	}
	if a.form != b.form {
		if b.form {
			return -1
		}
		return 1
	}
	return cmp.Compare(a.at, b.at)
}

// builder makes strings to sign. The part before the path is the same in every form and is
// made once for a request; so are the parameters, once decoded and, if asked for, once raw.
type builder struct {
	path    []byte
	query   []byte
	body    []byte // nil unless it is a form
	text    []byte // the string to sign; the first head bytes are the same in every form
	head    int
	names   [][]byte // the signed headers
	arena   []byte   // decoded names and values, one after the other
	decoded []pair
	raw     []pair
	hasRaw  bool
}

// reset begins with a request.
func (b *builder) reset(r *Request) {
	b.path, b.query, b.body = r.path(), r.query(), nil
	contentType := r.header(nameContentType)
	if isForm(contentType) {
		b.body = r.Body
	}
	b.arena, b.raw, b.hasRaw = b.arena[:0], b.raw[:0], false
	b.decoded = b.split(b.decoded[:0], b.query, false, false)
	b.decoded = b.split(b.decoded, b.body, true, false)
	slices.SortFunc(b.decoded, comparePairs)

	t := appendUpper(b.text[:0], r.Method)
	t = append(append(t, '\n'), r.header(nameAccept)...)
	t = append(append(t, '\n'), r.header(nameContentMD5)...)
	t = append(append(t, '\n'), contentType...)
	t = append(append(t, '\n'), r.header(nameDate)...)
	t = append(t, '\n')
	b.signedHeaders(r.header(nameSignatureHeaders))
	for _, name := range b.names {
		t = append(append(t, name...), ':')
		t = append(append(t, r.header(name)...), '\n')
	}
	b.text, b.head = t, len(t)
}

// signedHeaders reads the list of signed headers: sorted, each once, as it is spelled.
func (b *builder) signedHeaders(list []byte) {
	b.names = b.names[:0]
	for len(list) > 0 {
		var name []byte
		name, list = cut(list, ',')
		name = trim(name)
		if len(name) > 0 && !isUnsigned(name) {
			b.names = append(b.names, name)
		}
	}
	slices.SortFunc(b.names, bytes.Compare)
	b.names = slices.CompactFunc(b.names, bytes.Equal)
}

func isUnsigned(name []byte) bool {
	for _, u := range unsigned {
		if equalFold(name, u) {
			return true
		}
	}
	return false
}

// split appends the parameters of a query or a form body.
func (b *builder) split(dst []pair, text []byte, form, raw bool) []pair {
	for at := 0; len(text) > 0; at++ {
		var piece []byte
		piece, text = cut(text, '&')
		name, value := cut(piece, '=')
		if len(name) == 0 {
			continue
		}
		if !raw {
			name, value = b.decode(name), b.decode(value)
		}
		dst = append(dst, pair{name: name, value: value, at: at, form: form})
	}
	return dst
}

// decode returns text itself when there is nothing to decode. What it returned before
// stays valid when the arena moves: the old one lives as long as it is pointed to.
func (b *builder) decode(text []byte) []byte {
	if !escaped(text) {
		return text
	}
	start := len(b.arena)
	b.arena = AppendDecoded(b.arena, text, true)
	return b.arena[start:len(b.arena):len(b.arena)]
}

// pairs are the parameters for a form, sorted.
func (b *builder) pairs(f Form) []pair {
	if f&ParamsRaw == 0 {
		return b.decoded
	}
	if !b.hasRaw {
		b.raw = b.split(b.raw[:0], b.query, false, true)
		b.raw = b.split(b.raw, b.body, true, false)
		slices.SortFunc(b.raw, comparePairs)
		b.hasRaw = true
	}
	return b.raw
}

// build makes the string to sign in one form. It is overwritten by the next.
func (b *builder) build(f Form) []byte {
	t := b.text[:b.head]
	if f&PathDecoded != 0 {
		t = AppendDecoded(t, b.path, false)
	} else {
		t = append(t, b.path...)
	}
	sep := byte('?')
	for rest := b.pairs(f); len(rest) > 0; {
		var query, form []pair
		query, form, rest = sameName(rest)
		values := form
		if len(form) == 0 || (len(query) > 0 && f&QueryWins != 0) {
			values = query
		}
		t = append(append(t, sep), values[0].name...)
		sep = '&'
		if f&RepeatJoin == 0 {
			values = values[:1]
		}
		if len(values) == 1 && len(values[0].value) == 0 && f&EmptyEquals == 0 {
			continue
		}
		for i, p := range values {
			t = append(t, "=,"[min(i, 1)])
			t = append(t, p.value...)
		}
	}
	b.text = t
	return t
}

// sameName splits off the parameters that bear the first one's name.
func sameName(pairs []pair) (query, form, rest []pair) {
	n := 1
	for n < len(pairs) && bytes.Equal(pairs[n].name, pairs[0].name) {
		n++
	}
	q := 0
	for q < n && !pairs[q].form {
		q++
	}
	return pairs[:q], pairs[q:n], pairs[n:]
}

// differs reports the switches that may change the string at all, given those of f that
// choose the parameters. The others need not be tried.
func (b *builder) differs(f Form) Form {
	var d Form
	if bytes.IndexByte(b.path, '%') >= 0 {
		d |= PathDecoded
	}
	if escaped(b.query) {
		d |= ParamsRaw
	}
	for rest := b.pairs(f & d); len(rest) > 0; {
		var query, form []pair
		query, form, rest = sameName(rest)
		if len(query) > 1 || len(form) > 1 {
			d |= RepeatJoin
		}
		if len(query) > 0 && len(form) > 0 {
			d |= QueryWins
		}
		for _, p := range query {
			if len(p.value) == 0 {
				d |= EmptyEquals
			}
		}
		for _, p := range form {
			if len(p.value) == 0 {
				d |= EmptyEquals
			}
		}
	}
	return d
}

// keep bounds what a pooled builder holds on to between requests.
const keep = 64 << 10

// trim lets go of buffers that one large request has blown up.
func (b *builder) trim() {
	if cap(b.text) > keep {
		b.text = nil
	}
	if cap(b.arena) > keep {
		b.arena = nil
	}
	if cap(b.decoded) > keep/64 {
		b.decoded = nil
	}
	if cap(b.raw) > keep/64 {
		b.raw = nil
	}
}
