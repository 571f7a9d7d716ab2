package wire_test

import (
	"testing"

	"github.com/souk-market/souk/gateway/wire"
)

// A plain GET of five headers, and a signed POST of thirteen, as clients send them.
const (
	plainGET = "GET /v1/now?city=0571 HTTP/1.1\r\nHost: weather.api.example.com\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n" +
		"Accept-Encoding: gzip\r\nAuthorization: APPCODE 3F2504E04F8911D39A0C0305E82C3301\r\n\r\n"
	signedPOST = "POST /v1/orders/check?lang=zh HTTP/1.1\r\nHost: weather.api.example.com\r\nUser-Agent: Apache-HttpClient/4.5.13\r\n" +
		"Accept: application/json; charset=utf-8\r\nContent-Type: application/octet-stream; charset=utf-8\r\nContent-Length: 42\r\n" +
		"Content-MD5: 6Z5ZZ7bVuNAnoVDWBPQw3w==\r\nDate: Tue, 24 Nov 2026 08:00:00 GMT+00:00\r\nX-Ca-Key: 203753385\r\n" +
		"X-Ca-Timestamp: 1795434526967\r\nX-Ca-Nonce: c9f15cbf-f4ac-4a6c-b54d-f51abf4b5b44\r\nX-Ca-Signature-Method: HmacSHA256\r\n" +
		"X-Ca-Signature-Headers: x-ca-key,x-ca-nonce,x-ca-signature-method,x-ca-timestamp\r\n" +
		"X-Ca-Signature: xfX+bZxY2yl7EB/qdoDy9v/uscw3Nnj1pgoU+Bm6xdM=\r\n\r\n{\"order\":\"ord_01HF7YAT\",\"city\":\"Hangzhou\"}\n"
	answer = "HTTP/1.1 200 OK\r\nServer: up\r\nDate: Tue, 24 Nov 2026 08:00:00 GMT\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: 2\r\n\r\nok"
)

// whole reads one request with its body.
func whole(t testing.TB, r *wire.Request, text []byte) {
	r.Reset()
	n, err := r.Parse(text, wire.Bounds{})
	if n == 0 || err != nil {
		t.Fatal(n, err)
	}
	var b wire.Body
	b.Begin(r.Length)
	if _, err := b.Walk(text[n:]); err != nil || !b.Done() {
		t.Fatal(err, b.Done())
	}
}

// G4: less than 400 ns for a signed request, and no allocation.
func BenchmarkPlainGET(b *testing.B)   { benchmark(b, plainGET) }
func BenchmarkSignedPOST(b *testing.B) { benchmark(b, signedPOST) }

func benchmark(b *testing.B, text string) {
	var r wire.Request
	raw := []byte(text)
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		whole(b, &r, raw)
	}
}

func BenchmarkAnswer(b *testing.B) {
	var r wire.Response
	raw := []byte(answer)
	b.ReportAllocs()
	for b.Loop() {
		r.Reset()
		if n, err := r.Parse(raw, false, wire.Bounds{}); n == 0 || err != nil {
			b.Fatal(n, err)
		}
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	var r wire.Request
	for _, text := range []string{plainGET, signedPOST} {
		raw := []byte(text)
		whole(t, &r, raw) // makes room for the fields
		if n := testing.AllocsPerRun(100, func() { whole(t, &r, raw) }); n != 0 {
			t.Errorf("%.20q: %v allocations", text, n)
		}
	}
	var a wire.Response
	raw := []byte(answer)
	if n := testing.AllocsPerRun(100, func() {
		a.Reset()
		if _, err := a.Parse(raw, false, wire.Bounds{}); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("an answer: %v allocations", n)
	}
	// A refusal is as cheap as a success.
	broken := []byte("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
	if n := testing.AllocsPerRun(100, func() {
		r.Reset()
		if _, err := r.Parse(broken, wire.Bounds{}); err == nil {
			t.Fatal("two lengths were let through")
		}
	}); n != 0 {
		t.Errorf("a fault: %v allocations", n)
	}
}
