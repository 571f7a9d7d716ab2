package gate

import "testing"

func read(t *testing.T, head string) (Fields, *Refusal) {
	t.Helper()
	var f Fields
	r := f.Read([]byte(head))
	return f, r
}

// A header is found whatever its case; of two that are alike the first is taken, and
// nothing is lost of order and spelling.
func TestFieldsAreKeptAsTheyCame(t *testing.T) {
	f, r := read(t, "host: a\r\nX-b: 1\r\nx-B:\t 2 \t\r\nEmpty:\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n")
	if r != nil {
		t.Fatal(r)
	}
	want := []string{"host", "a", "X-b", "1", "x-B", "2", "Empty", "", "Cookie", "a=1", "Cookie", "b=2"}
	if len(f) != len(want)/2 {
		t.Fatalf("%d fields, want %d", len(f), len(want)/2)
	}
	for i := range f {
		if string(f[i].Name) != want[2*i] || string(f[i].Value) != want[2*i+1] {
			t.Errorf("%d: %q: %q, want %q: %q", i, f[i].Name, f[i].Value, want[2*i], want[2*i+1])
		}
	}
	if got := f.Header([]byte("X-B")); string(got) != "1" {
		t.Errorf("X-B: %q", got)
	}
	if got := f.Header([]byte("empty")); len(got) != 0 || !f.Has([]byte("EMPTY")) {
		t.Errorf("a header without a value: %q", got)
	}
	if f.Header([]byte("x_b")) != nil || f.Has([]byte("X-C")) {
		t.Error("found what is not there")
	}
}

// A head that two servers could read differently is refused: F7, F22, S3.
func TestUnclearHeads(t *testing.T) {
	for _, head := range []string{
		"A: 1\r\n 2\r\n", "A: 1\r\n\t2\r\n", "A B: 1\r\n", "A : 1\r\n", ": 1\r\n", "A\r\n", "A\x00: 1\r\n", "\xc3\xa4: 1\r\n",
		"Host: a\r\nhost: b\r\n", "Authorization: a\r\nAUTHORIZATION: a\r\n", "Content-Type: a\r\nContent_Type: b\r\n",
		"X-Ca-Key: a\r\nX-Ca-Nonce: b\r\nx_ca_key: c\r\n", "X-Ca-Anything: a\r\nx-ca-anything: a\r\n", "Date: a\r\nDate: a\r\n",
		"Content-MD5: a\r\ncontent-md5: a\r\n", "Transfer-Encoding: chunked\r\nTransfer_Encoding: chunked\r\n",
	} {
		if _, r := read(t, head); r == nil || r.Code != "I400HD" || r.Status != 400 {
			t.Errorf("%q: %v, want I400HD", head, r)
		}
	}
}

func TestAlike(t *testing.T) {
	alike := func(a, b string, want bool) {
		t.Helper()
		if Alike([]byte(a), []byte(b)) != want {
			t.Errorf("%q and %q: want %v", a, b, want)
		}
	}
	alike("X-Forwarded-For", "x_forwarded_FOR", true)
	alike("X-Forwarded-For", "X-Forwarded-Fo", false)
	alike("X-Forwarded-For", "X.Forwarded.For", false)
	alike("@", "`", false) // not letters, though a bit apart
}

// Programs compare these texts; protocol section 6.
func TestRefusalsSayWhatProgramsKnow(t *testing.T) {
	for _, c := range []struct {
		r      *Refusal
		status int
		text   string
	}{
		{NoCredential, 400, "A400MA Need authorization, `X-Ca-Key` or `Authorization: APPCODE ...` is required"},
		{UnknownKey, 400, "A400IK Invalid AppKey"},
		{UnknownCode, 400, "A400AC Invalid AppCode `not exists`"},
		{NonceUsed, 403, "S403NU Nonce Used"},
		{NonceNeeded, 400, "I400NC X-Ca-Nonce is required"},
		{ClockSkew, 403, "S403TE X-Ca-Timestamp is expired"},
		{Unauthorized, 403, "I403AA Unauthorized"},
		{QuotaExhausted, 403, "B403MQ Api Market Subscription quota exhausted"},
		{PackagesExpired, 403, "B403ME Api Market Subscription expired"},
		{NoPackage, 403, "B403MI Api Market Subscription invalid"},
		{ThrottledRoute, 429, "T429PA Throttled by API Flow Control"},
		{ThrottledApp, 429, "T429PR Throttled by PLUGIN Flow Control"},
		{BadStage, 400, "I400SG Invalid Stage"},
		{BodyTooLarge, 413, "I413RL Request body too Large"},
		{TargetTooLarge, 413, "I413UL Request URL too Large"},
		{UpstreamTimeout, 504, "D504TO Backend service request timeout"},
		{InternalFault, 500, "X500ER Service Internal Error"},
		{Busy, 503, "X503BZ Service Busy"},
	} {
		if c.r.Status != c.status || c.r.Error() != c.text {
			t.Errorf("%d %q, want %d %q", c.r.Status, c.r.Error(), c.status, c.text)
		}
	}
}

// A call that was used keeps nothing but memory.
func TestResetForgets(t *testing.T) {
	c := &Call{ID: "x", App: "app_a", How: ByAppCode, Body: make([]byte, keptBody+1), BodyRead: true, Hold: Hold{Lease: 1}, Params: []Param{{Name: "a"}}}
	c.Reset()
	if c.ID != "" || c.App != "" || c.How != Nobody || c.BodyRead || c.Hold.Held() || len(c.Params) != 0 || cap(c.Body) != 0 {
		t.Errorf("left: %+v", c)
	}
}
