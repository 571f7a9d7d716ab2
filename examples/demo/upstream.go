package demo

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/souk-market/souk/examples/seller-weather/weather"
)

// upstream is the demo sellers' server: the weather, what the table of products computes,
// and an echo of everything under /accept and /echo.
func upstream(now func() time.Time) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/weather/", weather.Handler(now))
	mux.HandleFunc("/accept/", echo)
	mux.HandleFunc("/echo/", echo)
	for _, p := range products {
		for _, op := range p.Operations {
			if op.answer != nil {
				mux.HandleFunc(op.Method+" "+op.Path, op.serve(now))
			}
		}
	}
	return mux
}

const bodyMost = 12 << 20

// Echo is what the seller received.
type Echo struct {
	Method  string              `json:"method"`
	Target  string              `json:"target"` // as it stood on the request line
	Host    string              `json:"host"`
	Headers map[string][]string `json:"headers"`
	Body    string              `json:"body"`        // if it is text
	Base64  string              `json:"body_base64"` // in any case
	Length  int                 `json:"body_length"`
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyMost))
	if err != nil {
		respond(w, http.StatusRequestEntityTooLarge, map[string]string{"error": "the body is too large"})
		return
	}
	e := Echo{Method: r.Method, Target: r.RequestURI, Host: r.Host, Headers: r.Header, Length: len(body),
		Base64: base64.StdEncoding.EncodeToString(body)}
	if utf8.Valid(body) {
		e.Body = string(body)
	}
	respond(w, http.StatusOK, e)
}

func respond(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the caller may have gone
}

// refusal is an answer of the seller's own to a question that makes no sense.
type refusal struct {
	status int
	text   string
}

func (r refusal) Error() string { return r.text }

func bad(text string) error  { return refusal{http.StatusBadRequest, text} }
func none(text string) error { return refusal{http.StatusNotFound, text} }

// question is a call, as an answer needs it.
type question struct {
	get  func(name string) string // a parameter of path, query or form
	body []byte
	now  time.Time
}

// answer computes what a call is answered with.
type answer func(question) (any, error)

// serve reads the parameters and writes the answer.
func (op operation) serve(now func() time.Time) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := question{now: now(), get: func(name string) string {
			if v := r.PathValue(name); v != "" {
				return v
			}
			return r.FormValue(name)
		}}
		r.Body = http.MaxBytesReader(w, r.Body, bodyMost)
		if op.Body != "" && op.Body != formType {
			var err error
			if q.body, err = io.ReadAll(r.Body); err != nil {
				respond(w, http.StatusRequestEntityTooLarge, map[string]string{"error": "the body is too large"})
				return
			}
		}
		for _, p := range op.Params {
			if p.Required && q.get(p.Name) == "" {
				respond(w, http.StatusBadRequest, map[string]string{"error": p.Name + " is missing"})
				return
			}
		}
		v, err := op.answer(q)
		var no refusal
		switch {
		case errors.As(err, &no):
			respond(w, no.status, map[string]string{"error": no.text})
		case err != nil:
			respond(w, http.StatusInternalServerError, map[string]string{"error": "internal error"})
		default:
			respond(w, http.StatusOK, v)
		}
	}
}
