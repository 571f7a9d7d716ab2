package catalog

import (
	"bytes"
	"fmt"
	"html/template"
	"net/url"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"

	"github.com/souk-market/souk/console/market"
)

// The text that stands for the buyer's own AppCode in samples.
const yourCode = "<YOUR_APP_CODE>"

func operation(base, domain string, i market.Interface) Operation {
	o := Operation{Method: i.Method, Path: i.Path, Name: i.Name, Doc: i.Doc, Params: []Param{}, Body: i.Body, Example: i.Example}
	for _, a := range i.Params {
		o.Params = append(o.Params, Param(a))
	}
	o.Samples = samples(newCall(base, domain, i))
	return o
}

// call is what the samples send: the required parameters with their examples.
type call struct {
	method  string
	url     string
	domain  string
	headers [][2]string
	body    string
	media   string
}

func newCall(base, domain string, i market.Interface) call {
	c := call{method: i.Method, domain: domain, media: i.Body, body: i.BodyDoc}
	if c.method == "ANY" {
		c.method = "GET"
	}
	path := i.Path
	query, form := url.Values{}, url.Values{}
	for _, p := range i.Params {
		v := p.Example
		if v == "" {
			v = "1"
		}
		switch {
		case p.In == "path":
			path = strings.ReplaceAll(path, "["+p.Name+"]", url.PathEscape(v))
		case !p.Required && p.Example == "":
		case p.In == "query":
			query.Set(p.Name, v)
		case p.In == "form":
			form.Set(p.Name, v)
		case p.In == "header":
			c.headers = append(c.headers, [2]string{p.Name, v})
		}
	}
	if len(form) > 0 {
		c.body, c.media = form.Encode(), "application/x-www-form-urlencoded"
	}
	c.url = base + path
	if len(query) > 0 {
		c.url += "?" + query.Encode()
	}
	return c
}

// samples write the call in the languages that buyers ask for. They are plain standard
// library, and the AppCode stands in the header.
func samples(c call) []Sample {
	return []Sample{
		{"curl", c.curl()}, {"Python", c.python()}, {"Go", c.golang()},
		{"Java", c.java()}, {"Node.js", c.node()}, {"PHP", c.php()},
	}
}

func shell(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// quoted is a string literal in the languages of the samples; all of them read these
// escapes in double quotes. PHP and shells also read $, which needs its own.
func quoted(s string) string {
	r := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`)
	return `"` + r.Replace(s) + `"`
}

func (c call) curl() string {
	var b strings.Builder
	b.WriteString("curl ")
	if c.method != "GET" {
		fmt.Fprintf(&b, "-X %s ", c.method)
	}
	b.WriteString(shell(c.url))
	line := func(h string) { fmt.Fprintf(&b, " \\\n  -H %s", shell(h)) }
	line("Host: " + c.domain)
	line("Authorization: APPCODE " + yourCode)
	for _, h := range c.headers {
		line(h[0] + ": " + h[1])
	}
	if c.body != "" {
		line("Content-Type: " + c.media)
		fmt.Fprintf(&b, " \\\n  --data %s", shell(c.body))
	}
	return b.String()
}

func (c call) python() string {
	var b strings.Builder
	b.WriteString("import urllib.request\n\n")
	data := ""
	if c.body != "" {
		data = ", data=" + quoted(c.body) + ".encode()"
	}
	fmt.Fprintf(&b, "req = urllib.request.Request(%s, method=%s%s)\n", quoted(c.url), quoted(c.method), data)
	c.each(func(k, v string) { fmt.Fprintf(&b, "req.add_header(%s, %s)\n", quoted(k), quoted(v)) })
	b.WriteString("with urllib.request.urlopen(req, timeout=30) as res:\n    print(res.status, res.read().decode())")
	return b.String()
}

func (c call) golang() string {
	var b strings.Builder
	body := "nil"
	if c.body != "" {
		body = "strings.NewReader(" + quoted(c.body) + ")"
	}
	fmt.Fprintf(&b, "req, err := http.NewRequest(%s, %s, %s)\nif err != nil {\n\tlog.Fatal(err)\n}\n", quoted(c.method), quoted(c.url), body)
	c.each(func(k, v string) {
		if k == "Host" {
			fmt.Fprintf(&b, "req.Host = %s\n", quoted(v))
			return
		}
		fmt.Fprintf(&b, "req.Header.Set(%s, %s)\n", quoted(k), quoted(v))
	})
	b.WriteString("res, err := http.DefaultClient.Do(req)\nif err != nil {\n\tlog.Fatal(err)\n}\ndefer res.Body.Close()\nio.Copy(os.Stdout, res.Body)")
	return b.String()
}

func (c call) java() string {
	var b strings.Builder
	body := "HttpRequest.BodyPublishers.noBody()"
	if c.body != "" {
		body = "HttpRequest.BodyPublishers.ofString(" + quoted(c.body) + ")"
	}
	b.WriteString("// java -Djdk.httpclient.allowRestrictedHeaders=host Call.java\n")
	fmt.Fprintf(&b, "var req = HttpRequest.newBuilder(URI.create(%s))\n    .method(%s, %s)\n", quoted(c.url), quoted(c.method), body)
	c.each(func(k, v string) { fmt.Fprintf(&b, "    .header(%s, %s)\n", quoted(k), quoted(v)) })
	b.WriteString("    .build();\nvar res = HttpClient.newHttpClient().send(req, HttpResponse.BodyHandlers.ofString());\nSystem.out.println(res.statusCode() + \" \" + res.body());")
	return b.String()
}

// node uses http.request, since fetch does not let a program set Host.
func (c call) node() string {
	var b strings.Builder
	mod := "http"
	if strings.HasPrefix(c.url, "https:") {
		mod = "https"
	}
	fmt.Fprintf(&b, "const %s = require(%s);\nconst req = %s.request(%s, {\n  method: %s,\n  headers: {\n", mod, quoted(mod), mod, quoted(c.url), quoted(c.method))
	c.each(func(k, v string) { fmt.Fprintf(&b, "    %s: %s,\n", quoted(k), quoted(v)) })
	b.WriteString("  },\n}, (res) => res.pipe(process.stdout));\n")
	if c.body != "" {
		fmt.Fprintf(&b, "req.end(%s);", quoted(c.body))
	} else {
		b.WriteString("req.end();")
	}
	return b.String()
}

func (c call) php() string {
	var b strings.Builder
	q := func(s string) string { return strings.ReplaceAll(quoted(s), "$", `\$`) }
	fmt.Fprintf(&b, "<?php\n$curl = curl_init(%s);\ncurl_setopt($curl, CURLOPT_CUSTOMREQUEST, %s);\ncurl_setopt($curl, CURLOPT_RETURNTRANSFER, true);\ncurl_setopt($curl, CURLOPT_HTTPHEADER, [\n", q(c.url), q(c.method))
	c.each(func(k, v string) { fmt.Fprintf(&b, "    %s,\n", q(k+": "+v)) })
	b.WriteString("]);\n")
	if c.body != "" {
		fmt.Fprintf(&b, "curl_setopt($curl, CURLOPT_POSTFIELDS, %s);\n", q(c.body))
	}
	b.WriteString("echo curl_exec($curl);")
	return b.String()
}

func (c call) each(f func(k, v string)) {
	f("Host", c.domain)
	f("Authorization", "APPCODE "+yourCode)
	for _, h := range c.headers {
		f(h[0], h[1])
	}
	if c.body != "" {
		f("Content-Type", c.media)
	}
}

// renderer drops raw HTML and links that are not web addresses: what sellers write is text.
var renderer = goldmark.New(goldmark.WithExtensions(extension.Table, extension.Strikethrough))

func markdown(text string) template.HTML {
	var b bytes.Buffer
	if err := renderer.Convert([]byte(text), &b); err != nil {
		return template.HTML(template.HTMLEscapeString(text))
	}
	return template.HTML(b.String())
}
