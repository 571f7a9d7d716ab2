package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Client talks to a console as a program does: JSON under /api/v1, with an access token.
type Client struct {
	Console string // "http://127.0.0.1:8090"
	Token   string // empty: a visitor
}

// Failure is an answer that says no: application/problem+json.
type Failure struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Fields []struct {
		Name   string `json:"name"`
		Code   string `json:"code"`
		Detail string `json:"detail"`
	} `json:"fields"`
}

// Error is the reason, with each field that is wrong.
func (f *Failure) Error() string {
	text := fmt.Sprintf("%d %s: %s", f.Status, f.Code, f.Detail)
	for _, x := range f.Fields {
		text += fmt.Sprintf("; %s: %s (%s)", x.Name, x.Detail, x.Code)
	}
	return text
}

var web = &http.Client{Timeout: 30 * time.Second}

// Get asks for path and reads the answer into out.
func (c Client) Get(ctx context.Context, path string, out any) error {
	return c.do(ctx, http.MethodGet, path, nil, out)
}

// Post changes something: in and out may be nil.
func (c Client) Post(ctx context.Context, path string, in, out any) error {
	return c.do(ctx, http.MethodPost, path, in, out)
}

// Bytes fetches what is not JSON: an SDK.
func (c Client) Bytes(ctx context.Context, path string) ([]byte, error) {
	var b []byte
	err := c.do(ctx, http.MethodGet, path, nil, &b)
	return b, err
}

func (c Client) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.Console+"/api/v1"+path, body)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Accept-Language", "en")
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.Token != "" {
		r.Header.Set("Authorization", "Bearer "+c.Token)
	}
	w, err := web.Do(r)
	if err != nil {
		return err
	}
	defer w.Body.Close()
	answer, err := io.ReadAll(w.Body)
	if err != nil {
		return err
	}
	if w.StatusCode >= 400 {
		f := &Failure{}
		if err := json.Unmarshal(answer, f); err != nil || f.Code == "" {
			f = &Failure{Code: "?", Detail: strings.TrimSpace(string(answer[:min(len(answer), 200)]))}
		}
		f.Status = w.StatusCode
		return fmt.Errorf("%s %s: %w", method, path, f)
	}
	switch out := out.(type) {
	case nil:
		return nil
	case *[]byte:
		*out = answer
		return nil
	}
	if len(answer) == 0 {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}

const (
	patience = 30 * time.Second      // a demo that is not ready by then will not be
	pace     = 20 * time.Millisecond // between two looks
)

// Until asks again and again until done says yes, for half a minute at most.
func Until(ctx context.Context, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
}
