// Package page is how the console looks: layouts, parts, one stylesheet, one small
// script, icons, words in Chinese and English, and the ways in which money, numbers, times
// and charts are written. Plug-ins bring pages and words; this package renders them.
//
// A page file defines "content", which is executed with the Frame; the page's own data is
// .Data. Texts come from word files only: {{t "order.pay"}}, {{t "order.lines" "n" 3}},
// {{tn "order.line" .Data.Count}} (keys x.one and x.other). New fails on a word that is
// missing, or is in one language only.
//
// # How things are written
//
//	{{num 1268}} {{grouped 1268}}      1 268, as an element and within a sentence
//	{{with large 42100000}}{{.Number}} {{.Unit}}{{end}}   4 210 万, 42.1 M
//	{{money .Fen}} {{former .Fen}} {{unit 0.0079}}        ¥79.00, struck through, ¥0.0079
//	{{share 268 4000}} {{percent 99.98}} {{millis 86.0}}  6.7%, 99.98, 86 ms
//	{{date .At}} {{datetime .At}} {{clock .At}} {{ago .Now .At}}
//	{{icon "okc"}} {{spark .Days}} {{sparkmid .Days}} {{sparkwide .Days}} {{stars 4.7}}
//	{{usagebar .Total .Used}} {{usagebar .Total .First .Second}}
//	{{text .Name}} with {{other .Name}} in the tag: a text in both languages
//	{{with_ .Path "page" 2 "q" ""}}    the address with its query changed
//
// # Parts
//
// Most take a dict. "f" is the Frame, for its token and its faults.
//
//	tag        (dict "kind" "good" "icon" "okc" "word" …)   kinds: good warn caution bad accent ""
//	kindtag    a word with an edge
//	alert      (dict "kind" "caution" "text" … "href" … "word" …)   danger warning caution note
//	faults     the Frame: what is wrong with the form, with links to the fields
//	field      (dict "f" . "name" … "label" … "value" … "type" … "help" … "unit" … "width" 12
//	           "mode" "numeric" "auto" … "hint" … "optional" true "plain" true "code" true
//	           "rows" 3 "options" (list (dict "value" … "word" … "chosen" true)))
//	plan       (dict "name" "plan" "value" … "title" … "note" … "price" … "unit" … "chosen" true "why" …)
//	quantity   (dict "name" "count" "value" 1 "min" 1 "max" 1000)
//	dialog     (dict "id" … "f" . "action" … "title" … "text" … "keeps" … "confirm" … "verb" …
//	           "choose" … "option" … "options" (list …)), opened by a link to the page that asks
//	           the same: <a class="btn danger" href="…" data-dialog="id">
//	secret     (dict "f" . "s" .Secret), of Name, Value, Tail, Note (a key), At, Reveal, Reset
//	copyval    (dict "value" … "name" …)      a value with a copy button
//	command    a command with a copy button
//	codebox    a list of Language and Text    code in tabs
//	operations Base, Domain and a list of Operations
//	usage      (dict "used" … "total" … "parts" (list …) "detail" true "forecast" …)
//	chart      (dict "points" … "label" a sentence that says the finding); chartlegend the points
//	spans      (dict "span" "30d" "path" .Path)
//	calls      a list of At, Request, Method, Path, Outcome, Status, Millis, Code
//	stepper    (dict "at" 1 "steps" (list …))
//	events     (list (dict "state" "done" "what" … "when" … "text" …))    done, now, later
//	empty      (dict "first" true "title" … "text" … "href" … "word" … "href2" … "word2" … "command" …)
//	pages      (dict "page" 1 "pages" 9 "path" .Path); next (dict "next" key "before" key "path" .Path)
//	product    a card; pfacts its measured facts; seller (dict "name" … "verified" … "facts" … "ask" … "shop" …)
//	score      (dict "score" 4.7 "count" 312 "href" …); votes, review, thread, upload, loading: see their files
//
// Classes that pages use directly: btn (primary danger fill text small large full), card
// (flush, with bar and body), stack, stats, kv, tabs, filters, chips, diff, actionbar, todo,
// lines, and tables (cards, dense, picks; td.name, td.r, data-label).
//
// # Compositions
//
// home: hero, home-sec, catgrid, grid4, campaign. Store list: store-list. Product: two-col.
// Console detail: detail. Two cards abreast: half. Wizard: wizard. Checkout: check. Sign-in:
// narrow. Error: errorpage. Reference: docs. Whole pages to copy from stand in
// testdata/gallery; every part in every state stands on /parts.
//
// Nothing is inline but SVG: the content policy allows neither styles nor scripts. Lengths
// that come from data are SVG attributes, colours come from classes.
package page

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"path"
	"regexp"
	"sort"
	"strings"
	"time"
)

//go:embed layout part page static words
var files embed.FS

// Languages are the languages of the pages.
var Languages = []string{"zh", "en"}

// Source is one plug-in's pages and words. Either may be nil.
type Source struct {
	Name  string // "order": its file list.html is the page "order/list"
	Pages fs.FS
	Words fs.FS // zh.json and en.json: flat objects of texts
}

// Frame is what a layout is executed with.
type Frame struct {
	Lang       string // "zh" or "en"
	Theme      string // "light", "dark", or "" to follow the system
	Title      string
	Path       string // where the language and theme switches come back to
	Layout     string // "store", "console", "bare", or "none" for a fragment
	CSRF       string
	RequestID  string
	Now        time.Time
	Zone       *time.Location
	Actor      *Actor // nil: nobody is signed in
	Nav        []NavGroup
	RoleSwitch []NavItem
	Crumbs     []Crumb
	Extras     []NavItem // what plug-ins add to the header: an icon, its name, how many wait
	Search     string    // the word in the header's search box
	Sandbox    bool      // no money moves
	Flash      *Flash
	Faults     []Fault // of the form that comes back
	Data       any
}

// Actor is who is signed in.
type Actor struct {
	Name, Initial, Email, Account string
	Roles                         []string
	Role                          string // whose console this is
}

// NavGroup is a part of the left menu.
type NavGroup struct {
	Head  string
	Items []NavItem
}

// NavItem is an entry of a menu.
type NavItem struct {
	Icon, Word, Href string
	Count            int
	Current          bool
}

// Crumb is one step of the way to a page; the last has no address.
type Crumb struct{ Word, Href string }

// Flash is what is said once, after a redirect.
type Flash struct{ Kind, Text string }

// Fault is what is wrong with a form; Field is empty where it is the whole.
type Fault struct{ Field, Text string }

// Fault is the text of a field's fault, empty if there is none.
func (f *Frame) Fault(field string) string {
	for _, x := range f.Faults {
		if x.Field == field {
			return x.Text
		}
	}
	return ""
}

// Set is every page in every language. It does not change once made.
type Set struct {
	pages map[string]*template.Template // "zh order/list"
	words map[string]map[string]string  // language → key → text
}

// New reads all pages and words. It fails on a template that does not parse, a word that a
// page uses and no file has, and a word that one language has and the other has not.
func New(zone *time.Location, sources ...Source) (*Set, error) {
	s := &Set{pages: map[string]*template.Template{}, words: map[string]map[string]string{}}
	own := Source{Name: "page", Pages: folder("page"), Words: folder("words")}
	for _, lang := range Languages {
		s.words[lang] = map[string]string{}
		for _, src := range append([]Source{own}, sources...) {
			if err := s.readWords(lang, src); err != nil {
				return nil, err
			}
		}
	}
	if err := s.compareWords(); err != nil {
		return nil, err
	}
	for _, lang := range Languages {
		base := template.New("").Funcs(s.funcs(lang, zone))
		for _, dir := range []string{"layout", "part"} {
			if err := s.parseAll(base, folder(dir), dir); err != nil {
				return nil, err
			}
		}
		for _, src := range append([]Source{own}, sources...) {
			if src.Pages == nil {
				continue
			}
			if err := s.readPages(lang, base, src); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

func folder(name string) fs.FS {
	sub, err := fs.Sub(files, name)
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return sub
}

func (s *Set) readWords(lang string, src Source) error {
	if src.Words == nil {
		return nil
	}
	b, err := fs.ReadFile(src.Words, lang+".json")
	if err != nil {
		return fmt.Errorf("words of %s: %w", src.Name, err)
	}
	var words map[string]string
	if err := json.Unmarshal(b, &words); err != nil {
		return fmt.Errorf("words of %s, %s.json: %w", src.Name, lang, err)
	}
	for k, v := range words {
		if _, twice := s.words[lang][k]; twice {
			return fmt.Errorf("words of %s, %s.json: %q is said elsewhere too", src.Name, lang, k)
		}
		s.words[lang][k] = v
	}
	return nil
}

// compareWords makes sure that whatever one language says the other says too, with the
// same arguments. Plurals differ: only English has x.one.
func (s *Set) compareWords() error {
	var faults []string
	for _, a := range Languages {
		for _, b := range Languages {
			for k, text := range s.words[a] {
				if strings.HasSuffix(k, ".one") {
					continue
				}
				other, ok := s.words[b][k]
				if !ok {
					faults = append(faults, fmt.Sprintf("%q is in %s and not in %s", k, a, b))
				} else if x, y := arguments(text), arguments(other); x != y {
					faults = append(faults, fmt.Sprintf("%q fills in %s in %s and %s in %s", k, x, a, y, b))
				}
			}
		}
	}
	sort.Strings(faults)
	if len(faults) > 0 {
		return fmt.Errorf("words: %s", strings.Join(faults[:min(len(faults), 10)], "; "))
	}
	return nil
}

var argument = regexp.MustCompile(`\{[a-z_]+\}`)

func arguments(text string) string {
	found := argument.FindAllString(text, -1)
	sort.Strings(found)
	var one []string
	for i, f := range found {
		if i == 0 || f != found[i-1] {
			one = append(one, f)
		}
	}
	return strings.Join(one, " ")
}

// used finds the words that a template names.
var used = regexp.MustCompile(`\b(tn?) "([a-z0-9_.]+)"`)

func (s *Set) checkUsed(name, text string) error {
	for _, m := range used.FindAllStringSubmatch(text, -1) {
		key := m[2]
		if m[1] == "tn" {
			key += ".other"
		}
		if strings.HasSuffix(m[2], ".") || s.Has(key) {
			continue // a key that is put together is checked when it is said
		}
		return fmt.Errorf("page %s: nobody says %q", name, key)
	}
	return nil
}

func (s *Set) parseAll(into *template.Template, fsys fs.FS, name string) error {
	list, err := fs.Glob(fsys, "*.html")
	if err != nil {
		return err
	}
	for _, file := range list {
		b, err := fs.ReadFile(fsys, file)
		if err != nil {
			return err
		}
		if err := s.checkUsed(name+"/"+file, string(b)); err != nil {
			return err
		}
		if _, err := into.New(name + "/" + file).Parse(string(b)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Set) readPages(lang string, base *template.Template, src Source) error {
	list, err := fs.Glob(src.Pages, "*.html")
	if err != nil {
		return err
	}
	for _, file := range list {
		name := src.Name + "/" + strings.TrimSuffix(path.Base(file), ".html")
		b, err := fs.ReadFile(src.Pages, file)
		if err != nil {
			return err
		}
		if err := s.checkUsed(name, string(b)); err != nil {
			return err
		}
		t, err := base.Clone()
		if err != nil {
			return err
		}
		if t, err = t.New(name).Parse(string(b)); err != nil {
			return err
		}
		if t.Lookup("content") == nil {
			return fmt.Errorf("page %s does not define \"content\"", name)
		}
		s.pages[lang+" "+name] = t
	}
	return nil
}

// Render writes a page in the frame's language and layout.
func (s *Set) Render(w io.Writer, name string, f *Frame) error {
	t := s.pages[f.Lang+" "+name]
	if t == nil {
		return fmt.Errorf("page: there is no page %q in %q", name, f.Lang)
	}
	layout := "layout-" + f.Layout
	if f.Layout == "none" {
		layout = "content"
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, layout, f); err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// Names lists the pages, for tests that open each.
func (s *Set) Names() []string {
	var names []string
	for k := range s.pages {
		if name, ok := strings.CutPrefix(k, "zh "); ok {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

// Has reports whether there is such a word.
func (s *Set) Has(key string) bool {
	_, ok := s.words["zh"][key]
	return ok
}

// T is a word in a language; args are name, value pairs that are filled in for {name}. A
// word that nobody says is shown as its key, so that it is seen and mended.
func (s *Set) T(lang, key string, args ...any) string {
	text, ok := s.words[lang][key]
	if !ok {
		return key
	}
	for i := 0; i+1 < len(args); i += 2 {
		text = strings.ReplaceAll(text, "{"+fmt.Sprint(args[i])+"}", fmt.Sprint(args[i+1]))
	}
	return text
}

// N is a word that counts: x.one for one in English, x.other for all else, with {n}.
func (s *Set) N(lang, key string, n int64, args ...any) string {
	form := ".other"
	if lang == "en" && n == 1 {
		if _, ok := s.words[lang][key+".one"]; ok {
			form = ".one"
		}
	}
	return s.T(lang, key+form, append([]any{"n", Grouped(n)}, args...)...)
}
