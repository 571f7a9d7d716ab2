package gate

import (
	"strconv"
	"time"

	"github.com/souk-market/souk/gateway/control"
)

// Limit is where one limit of a call stands, for the caller to read.
type Limit struct {
	Name   string // as QuoteName made it
	By     control.By
	Calls  int64         // that may be made in Window
	Window time.Duration // of the clock; smooth: the time in which all calls come back
	Left   int64         // after this call
	Reset  time.Duration // until there are Calls again; of a limit that refused: until one is
	// Hit says that this is the limit that refused the call.
	Hit bool
	// Taken is what throttle gives back if the call is refused later: which counter, and
	// when it was counted.
	Taken Taken
}

// Taken names a counter and what was counted there.
type Taken struct {
	Counter [2]uint64
	At      int64 // the window that was counted in; smooth: the moment of the call
	Per     int64 // smooth: what one call took; 0: the window is fixed
}

// Names of the headers that AppendPolicies and AppendStandings are the values of; they are
// those of the IETF's draft on RateLimit header fields.
const (
	HeaderPolicies  = "RateLimit-Policy"
	HeaderStandings = "RateLimit"
)

// QuoteName makes the name of a limit the string of a structured header: what is not
// printable ASCII is percent-encoded, quotes and backslashes are escaped.
func QuoteName(name string) string {
	const hex = "0123456789ABCDEF"
	b := []byte{'"'}
	for i := range len(name) {
		switch c := name[i]; {
		case c < 0x20 || c >= 0x7F || c == '%':
			b = append(b, '%', hex[c>>4], hex[c&15])
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, c)
		}
	}
	return string(append(b, '"'))
}

// AppendPolicies appends what the limits of a call are: "name";q=100;w=60;by=app.
func AppendPolicies(dst []byte, limits []Limit) []byte {
	for i := range limits {
		l := &limits[i]
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = append(append(dst, l.Name...), ";q="...)
		dst = append(strconv.AppendInt(dst, l.Calls, 10), ";w="...)
		dst = append(strconv.AppendInt(dst, seconds(l.Window), 10), ";by="...)
		dst = append(dst, l.By...)
	}
	return dst
}

// AppendStandings appends where the limits of a call stand: "name";r=50;t=30. If the call
// was refused, it has only the limit that refused it.
func AppendStandings(dst []byte, limits []Limit) []byte {
	hit := false
	for i := range limits {
		hit = hit || limits[i].Hit
	}
	n := 0
	for i := range limits {
		l := &limits[i]
		if hit && !l.Hit {
			continue
		}
		if n++; n > 1 {
			dst = append(dst, ", "...)
		}
		dst = append(append(dst, l.Name...), ";r="...)
		dst = append(strconv.AppendInt(dst, max(0, l.Left), 10), ";t="...)
		dst = strconv.AppendInt(dst, seconds(l.Reset), 10)
	}
	return dst
}

// seconds rounds up, so that who comes again after so many is not too early.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
