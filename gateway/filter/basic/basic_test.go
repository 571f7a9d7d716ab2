package basic

import (
	"encoding/base64"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/souk-market/souk/gateway/filter/filtertest"
	"github.com/souk-market/souk/gateway/gate"
)

const (
	none  = "A403PR Plugin Authorization Needed: there is no name and password"
	isBad = "A403PR Plugin Authorization Needed: the name or the password is wrong"
)

func bcrypted(t testing.TB, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func argoned(password string) string {
	salt := []byte("0123456789abcdef")
	url := base64.RawStdEncoding.EncodeToString
	return "$argon2id$v=19$m=64,t=1,p=1$" + url(salt) + "$" + url(argon2.IDKey([]byte(password), salt, 1, 64, 1, 32))
}

func header(name, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

func TestPasswords(t *testing.T) {
	b := filtertest.New(t, "basic")
	chain := b.Make(fmt.Sprintf(`{"users":[{"name":"alice","hash":%q},{"name":"bob","hash":%q}],"header":"X-User","drop":true}`,
		bcrypted(t, "wonder:land"), argoned("builder")))
	for range 2 { // the second time from memory
		for _, tt := range [][2]string{
			{header("alice", "wonder:land"), ""}, {header("bob", "builder"), ""}, {"Authorization: basic " + header("bob", "builder")[len("Authorization: Basic "):], ""},
			{header("alice", "builder"), isBad}, {header("bob", "wonder:land"), isBad}, {header("bob", ""), isBad},
			{header("eve", "wonder:land"), isBad}, {header("", ""), isBad}, {header("alice", "wonder:lan"), isBad},
			{"X-A: b", none}, {"Authorization: APPCODE 0123", none}, {"Authorization: Basic !!!", none}, {"Authorization: Basic YQ==", none},
		} {
			c := b.Call("GET /", tt[0], "X-User: root")
			filtertest.Refused(t, b.Run(chain, c, filtertest.OK("")), tt[1])
			if o := c.Outgoing(); tt[1] == "" && (filtertest.Header(o.Fields, "X-User") == "root" || filtertest.Header(o.Fields, "Authorization") != "") {
				t.Errorf("the seller gets %q", o.Fields)
			}
		}
		b.Shared("basic", nil).(*desk).seen.Wait()
	}
}

// A changed password counts at once, and so does a user who is gone; an edit of something
// else forgets nothing.
func TestRevocation(t *testing.T) {
	b := filtertest.New(t, "basic")
	first, second := bcrypted(t, "one"), bcrypted(t, "two")
	with := func(hash string) string { return fmt.Sprintf(`{"users":[{"name":"alice","hash":%q}]}`, hash) }
	chain := b.Make(with(first))
	filtertest.Refused(t, b.Run(chain, b.Call("GET /", header("alice", "one")), filtertest.OK("")), "")
	d := b.Shared("basic", nil).(*desk)
	d.seen.Wait()
	for range cap(d.places) {
		d.places <- struct{}{} // nothing can be reckoned now
	}
	filtertest.Refused(t, b.Run(b.Make(with(first)), b.Call("GET /", header("alice", "one")), filtertest.OK("")), "")
	for range cap(d.places) {
		<-d.places
	}
	filtertest.Refused(t, b.Run(b.Make(with(second)), b.Call("GET /", header("alice", "one")), filtertest.OK("")), isBad)
	gone := b.Make(fmt.Sprintf(`{"users":[{"name":"bob","hash":%q}]}`, first))
	filtertest.Refused(t, b.Run(gone, b.Call("GET /", header("alice", "one")), filtertest.OK("")), isBad)
}

// B1: however many guess, few are reckoned at once and the others are told to wait.
func TestGuessingIsBounded(t *testing.T) {
	b := filtertest.New(t, "basic")
	chain := b.Make(fmt.Sprintf(`{"users":[{"name":"alice","hash":%q}]}`, argoned("x")))
	d := b.Shared("basic", nil).(*desk)
	for range cap(d.places) {
		d.places <- struct{}{}
	}
	results := make(chan error, 100)
	for i := range cap(results) {
		c := b.Call("GET /", header("alice", fmt.Sprint("guess", i)))
		go func() { results <- chain.Admit[0].Admit(c) }()
	}
	few := waiting + cap(d.places)
	for range cap(results) - few { // those that do not wait
		if err := <-results; !errors.Is(err, gate.Busy) {
			t.Errorf("one of too many is told %v", err)
		}
	}
	for range cap(d.places) {
		<-d.places
	}
	for range few {
		if err := <-results; !errors.Is(err, wrong) {
			t.Errorf("one who waited is told %v", err)
		}
	}
}

func TestWrongSettings(t *testing.T) {
	good := argoned("x")
	filtertest.New(t, "basic").Wrong(map[string]string{
		`{}`:                                   `it needs "users"`,
		`{"users":[{"name":"a:b","hash":""}]}`: "has a colon",
		`{"users":[{"name":"a","hash":"secret"}]}`:                                          "neither bcrypt's",
		`{"users":[{"name":"a","hash":"$2b$14$` + bcrypted(t, "x")[7:] + `"}]}`:             "cost 14; the most is 13",
		`{"users":[{"name":"a","hash":"$2b$04$x"}]}`:                                        "no bcrypt hash",
		`{"users":[{"name":"a","hash":"$argon2id$v=19$m=9999999,t=1,p=1$AAAA$AAAA"}]}`:      "m up to 65536",
		`{"users":[{"name":"a","hash":"$argon2id$v=19$m=64,t=1,p=1$AAAA$AAAA"}]}`:           "too short",
		`{"users":[{"name":"a","hash":"` + good + `"},{"name":"a","hash":"` + good + `"}]}`: "two users",
		`{"users":[{"name":"a","hash":"` + good + `"}],"header":"Connection"}`:              "not for a filter to write",
	})
}
