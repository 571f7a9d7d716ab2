package page

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"sync"
)

// Static are the files that pages load: souk.css, souk.js, favicon.svg.
func Static() fs.FS { return folder("static") }

var hashes = sync.OnceValue(func() map[string]string {
	m := map[string]string{}
	list, err := fs.ReadDir(Static(), ".")
	if err != nil {
		panic(err) // the folder is embedded
	}
	for _, e := range list {
		b, err := fs.ReadFile(Static(), e.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(b)
		m[e.Name()] = hex.EncodeToString(sum[:4])
	}
	return m
})

// Asset is the address of a static file; it changes when the file does.
func Asset(name string) string { return "/static/" + name + "?v=" + hashes()[name] }
