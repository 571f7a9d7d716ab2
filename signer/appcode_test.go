package signer

import (
	"bytes"
	"testing"
)

// API-04: exactly five spellings in the query. The header decides alone; in the query the
// first one does.
func TestAppCode(t *testing.T) {
	is := func(authorization, query, want string, place Place) {
		t.Helper()
		code, at := AppCode([]byte(authorization), []byte(query), nil)
		if string(code) != want || at != place {
			t.Errorf("%q, %q: %q in %d, want %q in %d", authorization, query, code, at, want, place)
		}
	}
	is("", "", "", Nowhere)
	is("APPCODE abc", "", "abc", InHeader)
	is(" appcode \t abc ", "", "abc", InHeader)
	is("APPCODE", "", "", InHeader)
	is("APPCODEabc", "", "", Nowhere)
	is("Bearer abc", "AppCode=1", "1", InQuery)
	is("APPCODE abc", "AppCode=1", "abc", InHeader)
	for _, name := range []string{"AppCode", "appcode", "appCode", "APPCODE", "APPCode"} {
		is("", "a=1&"+name+"=c&b=2", "c", InQuery)
	}
	for _, name := range []string{"ApPcOdE", "Appcode", "AppCODE", "AppCode ", "xAppCode", "AppCod"} {
		is("", name+"=c", "", Nowhere)
	}
	is("", "appcode=1&AppCode=2", "1", InQuery)
	is("", "App%43ode=%41b", "Ab", InQuery)
	is("", "AppCode", "", InQuery)
}

func TestAppendWithoutAppCode(t *testing.T) {
	is := func(query, want string) {
		t.Helper()
		if got := string(AppendWithoutAppCode([]byte("/p?"), []byte(query))); got != "/p?"+want {
			t.Errorf("%q: %q, want %q", query, got, want)
		}
	}
	is("", "")
	is("AppCode=x", "")
	is("a=1&AppCode=x", "a=1")
	is("AppCode=x&a=1", "a=1")
	is("a=1&appcode=x&b=%e5+2&appCode&APPCODE=1&APPCode=&Appcode=stays", "a=1&b=%e5+2&Appcode=stays")
	is("a=1&&b&=c&", "a=1&&b&=c&")
	is("%41ppCode=x&A=AppCode", "A=AppCode")
}

// FuzzAppCode: what is taken out is all that can be found, and nothing else is touched.
func FuzzAppCode(f *testing.F) {
	f.Add("a=1&AppCode=x&b=2")
	f.Add("&&App%43ode&=&")
	f.Fuzz(func(t *testing.T, query string) {
		left := AppendWithoutAppCode(nil, []byte(query))
		if code, place := AppCode(nil, left, nil); place != Nowhere {
			t.Fatalf("%q still has %q", left, code)
		}
		if again := AppendWithoutAppCode(nil, left); !bytes.Equal(again, left) {
			t.Fatalf("%q became %q", left, again)
		}
		if _, place := AppCode(nil, []byte(query), nil); place == Nowhere && string(left) != query {
			t.Fatalf("%q has no code and became %q", query, left)
		}
	})
}
