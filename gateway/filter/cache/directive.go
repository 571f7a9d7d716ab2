package cache

import (
	"bytes"
	"net/http"
	"strconv"
	"time"

	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/wire"
)

// directives are what a Cache-Control says. A time that is not said is -1.
type directives struct {
	some                                                            bool
	noStore, noCache, private, public, mustRevalidate, onlyIfCached bool
	maxAge, sMaxAge, minFresh                                       time.Duration
}

func readDirectives(fields gate.Fields, name []byte) directives {
	d := directives{maxAge: -1, sMaxAge: -1, minFresh: -1}
	for i := range fields {
		if !gate.Alike(fields[i].Name, name) {
			continue
		}
		for rest := fields[i].Value; len(rest) > 0; {
			var one []byte
			one, rest = cutList(rest)
			word, value, _ := bytes.Cut(one, []byte{'='})
			d.read(wire.Trim(word), bytes.Trim(wire.Trim(value), `"`))
		}
	}
	return d
}

// cutList cuts the first element of a list off; a comma between quotes is none.
func cutList(list []byte) (one, rest []byte) {
	quoted := false
	for i, c := range list {
		switch {
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			return list[:i], list[i+1:]
		}
	}
	return list, nil
}

func (d *directives) read(word, value []byte) {
	is := func(name string) bool { return len(word) == len(name) && bytes.EqualFold(word, []byte(name)) }
	d.some = d.some || len(word) > 0
	switch {
	case is("no-store"):
		d.noStore = true
	case is("no-cache"):
		d.noCache = true
	case is("private"):
		d.private = true
	case is("public"):
		d.public = true
	case is("must-revalidate"):
		d.mustRevalidate = true
	case is("only-if-cached"):
		d.onlyIfCached = true
	case is("max-age"):
		d.maxAge = shorter(d.maxAge, value)
	case is("s-maxage"):
		d.sMaxAge = shorter(d.sMaxAge, value)
	case is("min-fresh"):
		d.minFresh = seconds(value)
	}
}

// shorter is the shorter of two times that one directive says; what cannot be read is none
// at all, so that nothing is good for longer than somebody meant.
func shorter(had time.Duration, value []byte) time.Duration {
	n := max(0, seconds(value))
	if had >= 0 {
		return min(had, n)
	}
	return n
}

// seconds reads a number of seconds; -1 if it is none.
func seconds(value []byte) time.Duration {
	if len(value) == 0 || len(value) > 18 {
		return -1
	}
	for _, c := range value {
		if c < '0' || c > '9' {
			return -1
		}
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		return -1
	}
	return time.Duration(min(n, 1<<31)) * time.Second
}

func readDate(value []byte) (time.Time, bool) {
	t, err := http.ParseTime(string(value))
	return t, err == nil
}

func dateOf(fields gate.Fields, name []byte, other time.Time) time.Time {
	if t, ok := readDate(fields.Header(name)); ok {
		return t
	}
	return other
}

// initialAge is how old an answer is when it comes; RFC 9111, 4.2.3.
func initialAge(c *gate.Call, now time.Time) time.Duration {
	apparent := max(0, now.Sub(dateOf(c.Answer.Fields, nameDate, now)))
	said := max(0, seconds(c.Answer.Fields.Header(nameAge)))
	return max(apparent, said+max(0, now.Sub(c.At)))
}

// matches reports whether a caller has what is kept: by its ETag, or else by its date.
func matches(c *gate.Call, kept gate.Fields) bool {
	if c.Fields.Has(nameIfNoneMatch) {
		tag := weak(kept.Header(nameETag))
		if len(tag) == 0 {
			return false
		}
		for i := range c.Fields {
			if !gate.Alike(c.Fields[i].Name, nameIfNoneMatch) {
				continue
			}
			for rest := c.Fields[i].Value; len(rest) > 0; {
				var one []byte
				one, rest = cutList(rest)
				if one = wire.Trim(one); string(one) == "*" || bytes.Equal(weak(one), tag) {
					return true
				}
			}
		}
		return false
	}
	since, ok := readDate(c.Fields.Header(nameIfModifiedSince))
	changed, known := readDate(kept.Header(nameLastModified))
	return ok && known && !changed.After(since)
}

func weak(tag []byte) []byte { return bytes.TrimPrefix(tag, []byte("W/")) }
