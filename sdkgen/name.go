package sdkgen

import (
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/mozillazg/go-pinyin"
)

// Words is a name before a language spells it: lower case, ASCII letters and digits.
type Words []string

// maxIdent bounds an identifier.
const maxIdent = 60

// wordsOf takes a text apart: at everything that is no letter or digit, at changes of
// case, and at every Chinese character, which becomes its pinyin. Other letters are left
// out.
func wordsOf(text string) Words {
	var words Words
	var word []rune
	end := func() {
		if len(word) > 0 {
			words = append(words, strings.ToLower(string(word)))
			word = nil
		}
	}
	runes := []rune(text)
	for i, r := range runes {
		switch {
		case r < 0x80 && (unicode.IsLetter(r) || unicode.IsDigit(r)):
			if len(word) > 0 && unicode.IsUpper(r) {
				next := i+1 < len(runes) && unicode.IsLower(runes[i+1])
				if !unicode.IsUpper(word[len(word)-1]) || next {
					end() // aB, and the last capital of ABCd
				}
			}
			word = append(word, r)
		case unicode.Is(unicode.Han, r):
			end()
			if p := pinyin.LazyPinyin(string(r), pinyin.NewArgs()); len(p) == 1 {
				words = append(words, ascii(p[0]))
			}
		default:
			end()
		}
	}
	end()
	return words.cut()
}

// ascii spells ü as v, as people type it.
func ascii(s string) string {
	s = strings.ReplaceAll(s, "ü", "v")
	return strings.Map(func(r rune) rune {
		if r < 0x80 {
			return r
		}
		return -1
	}, s)
}

func (w Words) cut() Words {
	n := 0
	var short Words
	for i, word := range w {
		if len(word) > maxIdent {
			word = word[:maxIdent]
		}
		if n += len(word); n > maxIdent && i > 0 {
			break
		}
		if word != "" {
			short = append(short, word)
		}
	}
	return short
}

// and joins names, without a word that is said twice in a row.
func (w Words) and(more ...string) Words {
	joined := append(Words{}, w...)
	for _, m := range more {
		if len(joined) == 0 || joined[len(joined)-1] != m {
			joined = append(joined, m)
		}
	}
	return joined.cut()
}

func (w Words) key() string { return strings.Join(w, "") }

// letters counts ASCII letters.
func letters(s string) int {
	n := 0
	for _, r := range s {
		if r < 0x80 && unicode.IsLetter(r) {
			n++
		}
	}
	return n
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// usable reports whether the words can begin a name.
func (w Words) usable() bool { return len(w) > 0 && letters(w[0]) > 0 && letters(w.key()) >= 2 }

var (
	pathParam   = regexp.MustCompile(`[\[{]([^\]}/]*)[\]}]`)
	versionPart = regexp.MustCompile(`^[vV]\d+(\.\d+)*$`)
)

// candidates lists names for an operation, the best first. All of them come from the
// operation alone, so that another operation can at most take one away.
func candidates(id, method, route string) []Words {
	var all []Words
	offer := func(w Words) {
		if w.usable() {
			all = append(all, w)
		}
	}
	if isASCII(id) && letters(id) >= 2 {
		offer(wordsOf(id))
	}
	var static, by []string
	for part := range strings.SplitSeq(route, "/") {
		switch {
		case pathParam.MatchString(part):
			by = append([]string{"by"}, wordsOf(part)...)
			continue
		case part == "" || versionPart.MatchString(part):
			continue
		}
		static = append(static, strings.TrimSuffix(part, path.Ext(part)))
	}
	for n := 1; n <= len(static); n++ {
		tail := wordsOf(strings.Join(static[len(static)-n:], "-"))
		offer(tail)
		if n == 1 && len(by) > 1 {
			offer(tail.and(by...))
		}
	}
	whole := wordsOf(strings.Join(static, "-"))
	offer(Words{strings.ToLower(method)}.and(whole...))
	offer(Words{strings.ToLower(method)}.and(whole...).and(by...))
	offer(wordsOf(id))
	return all
}

// operationNames gives every operation of a list a name of its own. They are decided in
// order, so that one that is added at the end renames no other.
type operationNames struct {
	taken map[string]bool
}

func (n *operationNames) pick(id, method, route string) Words {
	if n.taken == nil {
		n.taken = map[string]bool{}
	}
	for _, w := range candidates(id, method, route) {
		if !n.taken[w.key()] {
			n.taken[w.key()] = true
			return w
		}
	}
	for i := len(n.taken) + 1; ; i++ {
		w := Words{"operation", strconv.Itoa(i)}
		if !n.taken[w.key()] {
			n.taken[w.key()] = true
			return w
		}
	}
}

// Scope hands out identifiers, each once. Compared without regard to case: some become
// names of files.
type Scope struct {
	spell    func(Words) string
	taken    map[string]bool
	reserved func(string) bool
}

// NewScope makes a scope of a language's spelling. What reserved claims gets a "_".
func NewScope(spell func(Words) string, reserved func(string) bool, taken ...Raw) *Scope {
	s := &Scope{spell: spell, reserved: reserved, taken: map[string]bool{}}
	for _, t := range taken {
		s.taken[fold(string(t))] = true
	}
	return s
}

// fold makes names equal that differ in case or in underscores only.
func fold(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "") }

// Pick spells a name; a second of the same name gets a number.
func (s *Scope) Pick(words Words) Code {
	var usable Words
	for _, w := range words {
		if w = identWord(w); w != "" {
			usable = append(usable, w)
		}
	}
	if len(usable) == 0 {
		usable = Words{"value"}
	}
	if c := usable[0][0]; '0' <= c && c <= '9' {
		usable = append(Words{"n"}, usable...)
	}
	usable = usable.cut()
	for i := 1; ; i++ {
		name := s.spell(usable)
		if i > 1 {
			name = s.spell(append(usable[:len(usable):len(usable)], strconv.Itoa(i)))
		}
		if s.reserved != nil && s.reserved(name) {
			name += "_"
		}
		if !s.taken[fold(name)] {
			s.taken[fold(name)] = true
			return Code{name}
		}
	}
}

// identWord keeps what may stand in an identifier in any language.
func identWord(w string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		return -1
	}, w)
}
