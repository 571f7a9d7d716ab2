package command

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/souk-market/souk/examples/house"
	"github.com/souk-market/souk/sdkgen"
	"github.com/souk-market/souk/sdkgen/openapi"
	"github.com/souk-market/souk/signer"
)

func sdkCommand() *cobra.Command {
	var in sdkgen.Input
	var p sdkgen.Product
	var out string
	var names []string
	for _, l := range sdkgen.Languages() {
		names = append(names, l.Name())
	}
	cmd := &cobra.Command{Use: "sdk --language LANGUAGE --out DIR FILE", Short: "Write an SDK from an OpenAPI document",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("name one OpenAPI document")}
			}
			return nil
		}}
	f := cmd.Flags()
	f.StringVar(&in.Language, "language", "go", strings.Join(names, " or "))
	f.StringVar(&out, "out", "", "folder to write to; made if it is not there")
	f.StringVar(&in.Name, "name", "", "what the SDK is called (empty: from the document's title)")
	f.StringVar(&p.BaseURL, "base-url", "", "where to call (empty: the document's first server)")
	f.StringVar(&p.Host, "host", "", "the API group's domain, where it is not the one to dial")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := load(cmd); err != nil {
			return err
		}
		if out == "" {
			return usageError{errors.New("say where to write, with --out")}
		}
		text, err := os.ReadFile(args[0])
		if err != nil {
			return err
		}
		doc, err := openapi.Read(text)
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		describe(&in, &p, doc)
		files, err := sdkgen.Generate(cmd.Context(), in)
		if errors.Is(err, sdkgen.ErrLanguage) {
			return usageError{err}
		}
		if err != nil {
			return err
		}
		for _, file := range files {
			path := filepath.Join(out, filepath.FromSlash(file.Name))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(path, file.Data, 0o644); err != nil {
				return err
			}
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%d files in %s, for %d operations\n", len(files), out, len(doc.Operations))
		return nil
	}
	return cmd
}

// describe takes everything that a document offers into one product.
func describe(in *sdkgen.Input, p *sdkgen.Product, doc *openapi.Document) {
	p.Name, p.Title, p.Description, p.Document = plainName(doc.Title), doc.Title, doc.Description, doc
	in.Title = doc.Title
	if in.Name == "" {
		in.Name = "souk-sdk"
		if p.Name != "" {
			in.Name = "souk-" + p.Name
		}
	}
	if p.BaseURL == "" && len(doc.Servers) > 0 {
		p.BaseURL = strings.TrimSuffix(doc.Servers[0], "/")
	}
	for _, op := range doc.Operations {
		p.Routes = append(p.Routes, sdkgen.Route{Title: op.Title(), Method: op.Method, Path: op.Path, Operation: op.Key()})
	}
	in.Products = []sdkgen.Product{*p}
}

// plainName keeps what of a title may stand in the name of a package; it may be nothing.
func plainName(title string) string {
	words := strings.FieldsFunc(strings.ToLower(title), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	return strings.Join(words, "-")
}

func signCommand() *cobra.Command {
	var c signer.Call
	var host, body string
	var headers []string
	cmd := &cobra.Command{Use: "sign --key KEY --secret SECRET --url URL", Short: "Sign a call: print a curl command and the string to sign", Args: noArgs,
		Long: `Sign a call. It prints a curl command that works for the next minutes, and the
string that was signed, to be compared with that of another program.

The secret had better come from the environment: SOUK_SECRET.`}
	f := cmd.Flags()
	f.StringVar(&c.Key, "key", "", "AppKey")
	f.StringVar(&c.Secret, "secret", "", "AppSecret")
	f.StringVar(&c.Method, "method", "", "HTTP method (empty: GET, or POST where there is a body)")
	f.StringVar(&c.URL, "url", "", "address with its query")
	f.StringVar(&host, "host", "", "the API group's domain, where it is not the one to dial")
	f.StringArrayVar(&headers, "header", nil, "a header, 'Name: value'; may be repeated")
	f.StringVar(&body, "body", "", "the body, or @file")
	f.StringVar(&c.Stage, "stage", "", "RELEASE, PRE or TEST (empty: not sent)")
	f.BoolVar(&c.SHA1, "sha1", false, "sign with HmacSHA1 instead of HmacSHA256")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := load(cmd); err != nil {
			return err
		}
		if err := fillCall(&c, headers, body); err != nil {
			return err
		}
		signed, err := signer.Sign(c)
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		fmt.Fprintf(out, "String to sign:\n\n%s\n\n%s\n", signed.StringToSign, curl(c, signed, host, body))
		return nil
	}
	return cmd
}

// fillCall adds what a call needs and nobody said. Headers that curl would add by itself
// are set here, since they are signed.
func fillCall(c *signer.Call, headers []string, body string) error {
	if c.Key == "" || c.Secret == "" || c.URL == "" {
		return usageError{errors.New("--key, --secret and --url are needed")}
	}
	if u, err := url.Parse(c.URL); err != nil || u.Host == "" {
		return usageError{fmt.Errorf("--url %q is no absolute address", c.URL)}
	}
	c.Header = map[string]string{"Accept": "*/*"}
	for _, h := range headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return usageError{fmt.Errorf("--header %q is not written 'Name: value'", h)}
		}
		for have := range c.Header {
			if strings.EqualFold(have, strings.TrimSpace(name)) {
				delete(c.Header, have)
			}
		}
		c.Header[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	if file, ok := strings.CutPrefix(body, "@"); ok {
		var err error
		if c.Body, err = os.ReadFile(file); err != nil {
			return err
		}
	} else {
		c.Body = []byte(body)
	}
	if c.Method = strings.ToUpper(c.Method); c.Method == "" {
		c.Method = "GET"
		if body != "" {
			c.Method = "POST"
		}
	}
	hasType := false
	for name := range c.Header {
		hasType = hasType || strings.EqualFold(name, "Content-Type")
	}
	if body != "" && !hasType {
		c.Header["Content-Type"] = "application/x-www-form-urlencoded"
		if strings.HasPrefix(body, "{") || strings.HasPrefix(body, "[") {
			c.Header["Content-Type"] = "application/json"
		}
	}
	c.Now, c.Nonce = time.Now(), rand.Text()
	return nil
}

// curl is the call as a command.
func curl(c signer.Call, s signer.Signed, host, body string) string {
	var b strings.Builder
	b.WriteString("curl -X " + quote(c.Method))
	if c.Method == "HEAD" {
		b.Reset()
		b.WriteString("curl --head")
	}
	if host != "" {
		b.WriteString(" \\\n  -H " + quote("Host: "+host))
	}
	for _, set := range []map[string]string{c.Header, s.Header} {
		var lines []string
		for name, value := range set {
			lines = append(lines, name+": "+value)
		}
		sort.Strings(lines)
		for _, line := range lines {
			b.WriteString(" \\\n  -H " + quote(line))
		}
	}
	if body != "" {
		b.WriteString(" \\\n  --data-binary " + quote(body))
	}
	b.WriteString(" \\\n  " + quote(c.URL))
	return b.String()
}

// quote makes one word of a shell of a text.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func migrateCommand() *cobra.Command {
	var s settings
	cmd := &cobra.Command{Use: "migrate", Short: "Bring both databases up to this program", Args: noArgs,
		Long: `Bring both databases up to this program, and print how far each owner's schema
is. 'souk serve' does the same when it starts; make a copy of the data folder
before an upgrade, since there is no way back.`}
	s.flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := load(cmd); err != nil {
			return err
		}
		o, err := s.options()
		if err != nil {
			return err
		}
		steps, err := house.Migrate(cmd.Context(), o)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "DATABASE\tOWNER\tSTEP")
		for _, t := range steps {
			fmt.Fprintf(w, "%s\t%s\t%04d_%s\n", t.File, t.Owner, t.Step, t.Name)
		}
		return w.Flush()
	}
	return cmd
}
