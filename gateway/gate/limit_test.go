package gate

import (
	"testing"
	"time"
)

// Q14, Q16: a refusal names the limit, its scope and its reset.
func TestLimitHeaders(t *testing.T) {
	limits := []Limit{
		{Name: QuoteName("per app"), By: "app", Calls: 100, Window: time.Minute, Left: 3, Reset: 1500 * time.Millisecond},
		{Name: QuoteName("每\"日\\"), By: "api", Calls: 5, Window: 24 * time.Hour, Left: -1, Reset: time.Nanosecond},
	}
	if got, want := string(AppendPolicies(nil, limits)),
		`"per app";q=100;w=60;by=app, "%E6%AF%8F\"%E6%97%A5\\";q=5;w=86400;by=api`; got != want {
		t.Errorf("policies %s, want %s", got, want)
	}
	if got, want := string(AppendStandings(nil, limits)), `"per app";r=3;t=2, "%E6%AF%8F\"%E6%97%A5\\";r=0;t=1`; got != want {
		t.Errorf("standings %s, want %s", got, want)
	}
	limits[1].Hit = true
	if got, want := string(AppendStandings(nil, limits)), `"%E6%AF%8F\"%E6%97%A5\\";r=0;t=1`; got != want {
		t.Errorf("standings of a refusal %s, want %s", got, want)
	}
	room := make([]byte, 0, 512)
	if n := testing.AllocsPerRun(100, func() { _ = AppendStandings(AppendPolicies(room, limits), limits) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// N5, K13: no setting of a seller writes what is not his.
func TestReserved(t *testing.T) {
	for _, name := range []string{"Connection", "transfer_encoding", "HOST", "content-length", "X-Forwarded-For", "x-ca-request-id", "X-Ca-Signature", "x_ca_proxy_signature", "", "a b", "a:b", "a\r\nb"} {
		if !Reserved([]byte(name)) {
			t.Errorf("%q may be written", name)
		}
	}
	for _, name := range []string{"X-App", "Content-Type", "Authorization"} {
		if Reserved([]byte(name)) {
			t.Errorf("%q may not be written", name)
		}
	}
	for name, want := range map[string]bool{"X-Ca-Error-Code": true, "Content-Length": true, "Connection": true, "ETag": false} {
		if got := ReservedAnswer([]byte(name)); got != want {
			t.Errorf("%s of an answer is reserved: %v, want %v", name, got, want)
		}
	}
}
