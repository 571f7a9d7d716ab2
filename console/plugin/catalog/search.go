package catalog

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// tokens cuts a text into the words under which it is found: Latin words and numbers
// whole, of each run of Han characters every single one and every pair.
func tokens(text string) []string {
	var out []string
	for _, run := range runs(text) {
		if !run.han {
			out = append(out, run.text)
			continue
		}
		chars := []rune(run.text)
		for i, c := range chars {
			out = append(out, string(c))
			if i > 0 {
				out = append(out, string(chars[i-1:i+1]))
			}
		}
	}
	return out
}

// match is the query for what a person typed: every pair of a Han run must occur, every
// Latin word must begin one. Each token is quoted, so that nothing typed is syntax. Empty
// if there is nothing to look for.
func match(typed string) string {
	var terms []string
	for _, run := range runs(typed) {
		chars := []rune(run.text)
		switch {
		case !run.han:
			terms = append(terms, `"`+run.text+`"*`)
		case len(chars) == 1:
			terms = append(terms, `"`+run.text+`"`)
		default:
			for i := 1; i < len(chars); i++ {
				terms = append(terms, `"`+string(chars[i-1:i+1])+`"`)
			}
		}
	}
	return strings.Join(terms[:min(len(terms), 32)], " AND ")
}

type run struct {
	text string
	han  bool
}

// runs folds case and width, and parts Han characters from letters and digits; all else
// separates.
func runs(text string) []run {
	var out []run
	var b strings.Builder
	han := false
	flush := func() {
		if b.Len() > 0 {
			out = append(out, run{b.String(), han})
			b.Reset()
		}
	}
	for _, c := range strings.ToLower(width.Fold.String(text)) {
		isHan := unicode.Is(unicode.Han, c)
		switch {
		case isHan || unicode.IsLetter(c) || unicode.IsDigit(c):
			if isHan != han {
				flush()
				han = isHan
			}
			b.WriteRune(c)
		default:
			flush()
		}
	}
	flush()
	return out
}
