package signer

import (
	"regexp"
	"testing"
)

func TestFreshCredentials(t *testing.T) {
	for name, c := range map[string]struct {
		fresh func() string
		form  string
	}{
		"AppKey":    {NewAppKey, `^[1-9][0-9]{8,9}$`},
		"AppSecret": {NewAppSecret, `^[0-9A-Za-z]{32}$`},
		"AppCode":   {NewAppCode, `^[0-9a-f]{32}$`},
	} {
		form := regexp.MustCompile(c.form)
		seen := map[string]bool{}
		for range 500 {
			s := c.fresh()
			if !form.MatchString(s) {
				t.Fatalf("%s %q", name, s)
			}
			seen[s] = true
		}
		if len(seen) < 499 { // two equal AppKeys in 500 happen once in 80,000 runs
			t.Errorf("%s: %d different ones of 500", name, len(seen))
		}
	}
}
