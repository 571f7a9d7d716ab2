// Package sdkgen writes an SDK for what an app may call: API descriptions and routes in,
// source files out. It is a pure function of its input: no clock, no network, the same
// bytes each time, and never a secret in them.
//
// It leaves to each language (sdkgen/lang) how things are spelled there, and to the
// console who may call what.
package sdkgen

import (
	"archive/zip"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/souk-market/souk/sdkgen/openapi"
)

// Version is the generator's own version, which every SDK names in its manifest and in
// its User-Agent.
const Version = "0.1.0"

// Input is what an SDK is made from.
type Input struct {
	Language string // of the code: "go", "python"
	Name     string // what the SDK is called: "souk-hangzhou"
	Title    string // the same for people
	Version  string // of the SDK: "1.0.0"; empty: "1.0.0"
	Products []Product
}

// Product is an API product that the app may call, or some of it.
type Product struct {
	Name        string // ASCII, "ip-query"; empty: made from Title
	Title       string
	Description string
	BaseURL     string // where to call: "https://ip.example.com"
	Host        string // the API group's domain, if it is not the one to dial
	Document    *openapi.Document
	Routes      []Route
}

// Route is one interface of a product.
type Route struct {
	Title  string // what people call it; empty: as the description says
	Method string // "ANY" becomes POST if there is a body, else GET
	Path   string // as callers see it: "/user/[id]" or "/user/{id}"; "[*]" is the rest
	// Operation is the description's key of it, "POST /ip/query"; empty: the one with the
	// same method and path. A route that the description does not have is still callable.
	Operation string
}

// File is one file of an SDK.
type File struct {
	Name string // with slashes, below the SDK's folder
	Data []byte
}

// Language turns a package into source files. Emit must be a pure function, and must let
// nothing of the description into the source but through its quoting functions.
type Language interface {
	Name() string  // "go"
	Title() string // "Go"
	Emit(*Package) ([]File, error)
}

var languages = map[string]Language{}

// Register makes a language known. It is called from init.
func Register(l Language) {
	if languages[l.Name()] != nil {
		panic("sdkgen: language " + l.Name() + " registered twice")
	}
	languages[l.Name()] = l
}

// Languages lists the languages by name.
func Languages() []Language {
	var all []Language
	for _, name := range slices.Sorted(maps.Keys(languages)) {
		all = append(all, languages[name])
	}
	return all
}

// ErrLanguage: nobody has registered the language.
var ErrLanguage = errors.New("sdkgen: no such language")

// Generate writes an SDK. The files are sorted by name.
func Generate(ctx context.Context, in Input) ([]File, error) {
	l := languages[in.Language]
	if l == nil {
		return nil, fmt.Errorf("%w: %q", ErrLanguage, in.Language)
	}
	p, err := plan(ctx, in)
	if err != nil {
		return nil, err
	}
	files, err := l.Emit(p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", in.Language, err)
	}
	slices.SortFunc(files, func(a, b File) int { return cmp.Compare(a.Name, b.Name) })
	for i, f := range files {
		if err := checkName(f.Name); err != nil {
			return nil, err
		}
		if i > 0 && strings.EqualFold(files[i-1].Name, f.Name) {
			return nil, fmt.Errorf("sdkgen: two files named %s", f.Name)
		}
	}
	return files, ctx.Err()
}

// maxName bounds a path in the archive: some systems have 260 characters in all.
const maxName = 160

func checkName(name string) error {
	if name == "" || len(name) > maxName || path.IsAbs(name) || path.Clean(name) != name || strings.HasPrefix(name, "..") {
		return fmt.Errorf("sdkgen: bad file name %q", name)
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7F || strings.IndexByte(`\:*?"<>|`, c) >= 0 {
			return fmt.Errorf("sdkgen: bad file name %q", name)
		}
	}
	return nil
}

// Zip packs files. The archive has no clock in it: the same files give the same bytes.
func Zip(w io.Writer, files []File) error {
	z := zip.NewWriter(w)
	for _, f := range slices.SortedFunc(slices.Values(files), func(a, b File) int { return cmp.Compare(a.Name, b.Name) }) {
		h := &zip.FileHeader{Name: f.Name, Method: zip.Deflate}
		h.SetMode(0o644)
		// The earliest date that the format has, set by hand: Modified would add a field.
		h.ModifiedDate = 1<<5 | 1 //nolint:staticcheck // see above
		h.Modified = time.Time{}
		to, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := to.Write(f.Data); err != nil {
			return err
		}
	}
	return z.Close()
}
