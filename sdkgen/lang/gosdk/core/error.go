package core

import (
	"fmt"
	"math/rand"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Kind says what went wrong.
type Kind string

// The kinds of errors.
const (
	Auth         Kind = "auth"         // the credentials or the signature
	Subscription Kind = "subscription" // the bought calls are used up, or the time is over
	Throttled    Kind = "throttled"    // too fast
	Request      Kind = "request"      // the request does not fit the API
	Gateway      Kind = "gateway"      // the marketplace or the way to the seller
	Backend      Kind = "backend"      // the seller's own answer
	Transport    Kind = "transport"    // nothing came back
)

// Error is the answer to a call that failed, or why there was none. An answer of the
// gateway has a Code; without one it is the seller's.
type Error struct {
	Kind      Kind
	Status    int
	Code      string // X-Ca-Error-Code
	Message   string // X-Ca-Error-Message
	RequestID string // tell it when you ask for help
	Attempts  int
	Header    http.Header
	Raw       []byte
	Hint      string // what may be the reason of a wrong signature

	cause error
}

// Error is one line, without secrets.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s error", e.Kind)
	if e.Status != 0 {
		fmt.Fprintf(&b, ", status %d", e.Status)
	}
	if e.Code != "" {
		fmt.Fprintf(&b, ", code %s", e.Code)
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	if e.RequestID != "" {
		b.WriteString(", request " + e.RequestID)
	}
	return b.String()
}

// Unwrap gives what the HTTP library said.
func (e *Error) Unwrap() error { return e.cause }

// failed makes an error of an answer.
func failed(r *reply, attempt int) *Error {
	e := &Error{
		Status: r.status, Header: r.header, Raw: r.body, Attempts: attempt,
		Code: r.header.Get("X-Ca-Error-Code"), Message: r.header.Get("X-Ca-Error-Message"),
		RequestID: r.header.Get("X-Ca-Request-Id"),
	}
	e.Kind = kindOf(e.Code)
	if e.Kind == Backend && e.Message == "" {
		e.Message = http.StatusText(r.status)
	}
	return e
}

func kindOf(code string) Kind {
	switch {
	case code == "":
		return Backend
	case strings.HasPrefix(code, "B403"):
		return Subscription
	case strings.HasPrefix(code, "T429"):
		return Throttled
	case strings.HasPrefix(code, "A4"), code == "S403TE", code == "S403NU", code == "I403AA", code == "I400I5", code == "I400NC":
		return Auth
	case strings.HasPrefix(code, "I4"):
		return Request
	}
	return Gateway
}

const wrongSignature = "Invalid Signature, Server StringToSign:`"

// explain finds the first line in which the gateway's string to sign differs from ours.
func (e *Error) explain(ours string) {
	if e.Code != "A403IS" || !strings.HasPrefix(e.Message, wrongSignature) {
		return
	}
	theirs := strings.Split(strings.TrimSuffix(e.Message[len(wrongSignature):], "`"), "#")
	mine := strings.Split(strings.ReplaceAll(ours, "#", "\n"), "\n")
	names := []string{"method", "Accept", "Content-MD5", "Content-Type", "Date"}
	for i := range mine {
		if i < len(theirs) && theirs[i] == mine[i] {
			continue
		}
		what, saw := "line "+strconv.Itoa(i+1), ""
		if i < len(names) {
			what = names[i]
		}
		if i < len(theirs) {
			saw = theirs[i]
		}
		e.Hint = fmt.Sprintf("%s: sent %q, the gateway saw %q", what, mine[i], saw)
		return
	}
	e.Hint = "both sides signed the same text: the AppSecret is not the one of this AppKey"
}

// harmless reports whether a call was turned away before it could reach the seller, so
// that trying again cannot be billed twice; and how long to wait.
func harmless(e *Error, attempt int) (bool, time.Duration) {
	switch e.Code {
	case "X503BZ", "D503BB", "D503CB", "D504CO", "D504RE":
		return true, backoff(attempt)
	}
	if !strings.HasPrefix(e.Code, "T429") {
		return false, 0
	}
	seconds, err := strconv.Atoi(e.Header.Get("Retry-After"))
	if err != nil {
		return true, backoff(attempt)
	}
	return seconds >= 0 && seconds <= 20, time.Duration(seconds) * time.Second
}

// backoff is a random time up to 0.25 s, 0.5 s, 1 s and so on, 4 s at most.
func backoff(attempt int) time.Duration {
	most := 250 * time.Millisecond << uint(min(attempt-1, 4))
	return time.Duration(rand.Int63n(int64(most) + 1))
}

// bucket keeps a dead service from being hammered: ten retries, and one more for every
// ten successes.
type bucket struct {
	mu    sync.Mutex
	spent float64
}

func (b *bucket) take() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.spent > 9 {
		return false
	}
	b.spent++
	return true
}

func (b *bucket) success() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.spent -= 0.1; b.spent < 0 {
		b.spent = 0
	}
}
