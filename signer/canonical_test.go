package signer

import (
	"cmp"
	"hash/fnv"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func signed(target, contentType, list, body string) *Request {
	return &Request{
		Method: []byte("post"), Target: []byte(target), Body: []byte(body),
		Headers: callHeaders{{
			"Accept": "*/*", "Content-Type": contentType, HeaderSignatureHeaders: list,
			HeaderKey: "1", HeaderNonce: "n", "X-Empty": "",
		}},
	}
}

const formContent = "Application/X-WWW-Form-URLEncoded; charset=utf-8"

// GWC-02: the parameters, with their order, their repetitions and their empty values.
func TestParameters(t *testing.T) {
	var v Verifier
	is := func(target, contentType, body string, f Form, want string) {
		t.Helper()
		text := string(v.StringToSign(signed(target, contentType, "", body), f))
		if got := text[strings.LastIndex(text, "\n")+1:]; got != want {
			t.Errorf("%s of %s with %q: got %q, want %q", f, target, body, got, want)
		}
	}
	is("/a", "", "", Canonical, "/a")
	is("/a?", "", "", Canonical, "/a")
	is("/a?&&=x", "", "", Canonical, "/a")
	is("/a?b=2&a=1", "", "", Canonical, "/a?a=1&b=2")
	is("/a?b=1&B=2&a.b=3&a=4", "", "", Canonical, "/a?B=2&a=4&a.b=3&b=1")
	is("/a?k&j=", "", "", Canonical, "/a?j&k")
	is("/a?k&j=", "", "", EmptyEquals, "/a?j=&k=")
	is("/a?k=1&k=2", "", "", Canonical, "/a?k=1")
	is("/a?k=1&j=0&k=2", "", "", RepeatJoin, "/a?j=0&k=1,2")
	is("/a?k=&k=", "", "", Canonical, "/a?k")
	is("/a?x=a%20b+c%zz%4", "", "", Canonical, "/a?x=a b c%zz%4")
	is("/a?x=a%20b", "", "", ParamsRaw, "/a?x=a%20b")
	is("/a?x=1;y=2", "", "", Canonical, "/a?x=1;y=2")
	is("/a?x=1=2?3", "", "", Canonical, "/a?x=1=2?3")
	is("/a%2Fb+c/%E5%8C%97", "", "", Canonical, "/a%2Fb+c/%E5%8C%97")
	is("/a%2Fb+c/%E5%8C%97%", "", "", PathDecoded, "/a/b+c/北%")
	is("/a?q=%31", formContent, "f=%31&q=%32", Canonical, "/a?f=1&q=2")
	is("/a?q=%31", formContent, "f=%31&q=%32", QueryWins, "/a?f=1&q=1")
	is("/a?q=%31&z=%31", formContent, "f=%31&q=%32", ParamsRaw, "/a?f=1&q=2&z=%31")
	is("/a?q=1", "application/json", "f=1", Canonical, "/a?q=1")
	is("/a", formContent, "k[0]=x&a b=y", Canonical, "/a?a b=y&k[0]=x")
}

// GWC-04: six headers are never in the block, whatever their case; the others stand there
// as they are spelled in the list, once each, sorted by bytes.
func TestHeaderBlock(t *testing.T) {
	var v Verifier
	const list = " x-ca-nonce , X-Ca-Key,,X-Ca-Key,accept,CONTENT-md5,Content-Type,date," +
		"x-ca-signature,X-Ca-Signature-Headers,X-Not-Sent,a-b"
	got := string(v.StringToSign(signed("/", "text/plain", list, "x"), Canonical))
	const want = "POST\n*/*\n\ntext/plain\n\nX-Ca-Key:1\nX-Not-Sent:\na-b:\nx-ca-nonce:n\n/"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The forms are tried with fewer switches first, each once.
func TestForms(t *testing.T) {
	if len(others) != 31 {
		t.Fatalf("%d forms beside the canonical one, want 31", len(others))
	}
	if got := others[0].String(); got != "path:decoded" {
		t.Errorf("the first is %s", got)
	}
	if got := (EmptyEquals | PathDecoded).String(); got != "path:decoded+empty:key=" {
		t.Errorf("two switches are called %s", got)
	}
	if got := others[30]; got != allSwitches {
		t.Errorf("the last is %s", got)
	}
}

// FuzzCanonical: no input breaks the string to sign, it is what the rules say when read
// slowly, and the order of parameters and of signed headers means nothing to it.
func FuzzCanonical(f *testing.F) {
	f.Add("/a?b=2&a=1&a=3", "k=v&b=3&=&%=1", "X-Ca-Key,x-ca-nonce", uint64(1))
	f.Add("/%E5%8C%97?k&k=2&z=%e5%8c%97&+=+", "k[0]=x&a b=y", "accept, date,", uint64(7))
	f.Add("?&&%zz=%f&;=;", "\xff=\x00&\n", "\n,:", uint64(3))
	for _, v := range vectors(f) {
		r := v.parse(f)
		f.Add(string(r.Target), string(r.Body), string(r.header(nameSignatureHeaders)), uint64(5))
	}
	f.Fuzz(func(t *testing.T, target, body, list string, seed uint64) {
		var v, w Verifier
		path, query, _ := strings.Cut(target, "?")
		a := signed(target, formContent, list, body)
		b := signed(path+"?"+reorder(query, seed), formContent, reorderList(list, seed), reorder(body, seed))
		if got, want := string(v.StringToSign(a, Canonical)), slow(a); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		for _, form := range append([]Form{Canonical}, others...) {
			x, y := string(v.StringToSign(a, form)), string(w.StringToSign(b, form))
			if x != y {
				t.Fatalf("%s: order of parameters counts:\n%q\n%q", form, x, y)
			}
		}
		// A switch that is said to make no difference makes none.
		v.builder.reset(a)
		differs := v.builder.differs(Canonical)
		canonical := string(v.builder.build(Canonical))
		for _, form := range others {
			if form&differs == 0 && string(v.builder.build(form)) != canonical {
				t.Fatalf("%s differs though it should not", form)
			}
		}
	})
}

// reorder shuffles the pieces of a query, but keeps those of one name in their order,
// since the first of them counts.
func reorder(query string, seed uint64) string {
	pieces := strings.Split(query, "&")
	slices.SortStableFunc(pieces, func(a, b string) int {
		return cmp.Compare(scramble(decodedName(a), seed), scramble(decodedName(b), seed))
	})
	return strings.Join(pieces, "&")
}

func decodedName(piece string) string {
	name, _, _ := strings.Cut(piece, "=")
	return string(AppendDecoded(nil, []byte(name), true))
}

func reorderList(list string, seed uint64) string {
	names := strings.Split(list, ",")
	slices.SortStableFunc(names, func(a, b string) int {
		return cmp.Compare(scramble(a, seed), scramble(b, seed))
	})
	return strings.Join(names, ",")
}

func scramble(s string, seed uint64) uint64 {
	h := fnv.New64a()
	h.Write([]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	h.Write([]byte(s))
	return h.Sum64()
}

// slow is section 4.2 once more, written for reading.
func slow(r *Request) string {
	var b strings.Builder
	b.WriteString(strings.ToUpper(string(r.Method)) + "\n")
	for _, name := range [][]byte{nameAccept, nameContentMD5, nameContentType, nameDate} {
		b.WriteString(string(r.header(name)) + "\n")
	}
	block := map[string]string{}
	for name := range strings.SplitSeq(string(r.header(nameSignatureHeaders)), ",") {
		name = strings.Trim(name, " \t")
		switch lowerASCII(name) {
		case "", "x-ca-signature", "x-ca-signature-headers", "accept", "content-md5", "content-type", "date":
			continue
		}
		block[name] = string(r.header([]byte(name)))
	}
	for _, name := range sortedKeys(block) {
		b.WriteString(name + ":" + block[name] + "\n")
	}
	path, query, _ := strings.Cut(string(r.Target), "?")
	b.WriteString(path)
	params := firstValues(string(r.Body))
	for name, value := range firstValues(query) {
		if _, ok := params[name]; !ok {
			params[name] = value
		}
	}
	for i, name := range sortedKeys(params) {
		b.WriteString("?&"[min(i, 1):min(i, 1)+1] + name)
		if params[name] != "" {
			b.WriteString("=" + params[name])
		}
	}
	return b.String()
}

func firstValues(text string) map[string]string {
	values := map[string]string{}
	for piece := range strings.SplitSeq(text, "&") {
		name, value, _ := strings.Cut(piece, "=")
		if name == "" {
			continue
		}
		name, value = unescapeSlowly(name), unescapeSlowly(value)
		if _, ok := values[name]; !ok {
			values[name] = value
		}
	}
	return values
}

// unescapeSlowly leans on net/url, one escape at a time.
func unescapeSlowly(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+3 <= len(s) {
			if one, err := url.PathUnescape(s[i : i+3]); err == nil {
				b.WriteString(one)
				i += 2
				continue
			}
		}
		if s[i] == '+' {
			b.WriteByte(' ')
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func lowerASCII(s string) string {
	b := []byte(s)
	for i := range b {
		b[i] = lower(b[i])
	}
	return string(b)
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
