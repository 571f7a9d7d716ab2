package page

import (
	"html/template"
	"regexp"
	"strings"
)

// A sample's colours are three: words of the language, strings, comments. More would ask
// the eye to learn a legend.
var codeToken = regexp.MustCompile(`(?m)("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|((?:^|[ \t])(?:#|//)[^\n]*)|\b([A-Za-z_]+)\b`)

// codeWords are coloured in every language: a sample is short, and a word that means
// something in one of them seldom stands in another by chance.
var codeWords = wordSet(`as async await case catch class const curl def defer elif else except export
	final finally for from func function go if import in interface let new package private public
	return static struct switch throw throws try type using var void while with yield
	true false null nil None True False`)

func wordSet(list string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(list) {
		m[w] = true
	}
	return m
}

// code is a sample with its words, strings and comments told apart. Text stays text: what
// stands in the sample is escaped piece by piece.
func code(text string) template.HTML {
	var b strings.Builder
	at := 0
	mark := func(class, s string) {
		b.WriteString(`<span class="` + class + `">`)
		template.HTMLEscape(&b, []byte(s))
		b.WriteString(`</span>`)
	}
	for _, m := range codeToken.FindAllStringSubmatchIndex(text, -1) {
		template.HTMLEscape(&b, []byte(text[at:m[0]]))
		at = m[1]
		switch s := text[m[0]:m[1]]; {
		case m[2] >= 0:
			mark("cs", s)
		case m[4] >= 0:
			mark("cc", s)
		case codeWords[s]:
			mark("cw", s)
		default:
			template.HTMLEscape(&b, []byte(s))
		}
	}
	template.HTMLEscape(&b, []byte(text[at:]))
	return template.HTML(b.String())
}
