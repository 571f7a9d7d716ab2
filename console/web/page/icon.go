package page

import "html/template"

// icons are drawn on a grid of 20, by strokes of 1.5 with round ends.
//
// Why they are written into the page and are no sprite file: a reference into another file
// falls under default-src in some browsers, which our content policy sets to none, and then
// no icon is seen at all. Compressed, a page's icons are a few hundred bytes.
var icons = map[string]string{
	"search": `<circle cx="9" cy="9" r="5.2"/><path d="m13 13 4 4"/>`,
	"menu":   `<path d="M3 5.5h14M3 10h14M3 14.5h14"/>`,
	"cart":   `<path d="M2.5 3.5h2l1.8 9.2h8.4l1.6-6.6H5.1"/><circle cx="7.6" cy="16" r="1.2"/><circle cx="13.6" cy="16" r="1.2"/>`,
	"bell":   `<path d="M5 14V9a5 5 0 0 1 10 0v5l1.5 1.5h-13zM8.5 17.5h3"/>`,
	"lang":   `<path d="M2.5 5h9M7 3v2M4 11c3-1.5 5-3.5 5.5-6M4.5 7.5C5.5 9.5 8 11 10 11.5M10 17l3.5-8 3.5 8M11.2 14.5h4.6"/>`,
	"sun":    `<circle cx="10" cy="10" r="3.2"/><path d="M10 2.5v2M10 15.5v2M2.5 10h2M15.5 10h2M4.7 4.7l1.4 1.4M13.9 13.9l1.4 1.4M4.7 15.3l1.4-1.4M13.9 6.1l1.4-1.4"/>`,
	"moon":   `<path d="M16.5 11.5A7 7 0 0 1 8.5 3.5a7 7 0 1 0 8 8z"/>`,
	"user":   `<circle cx="10" cy="6.8" r="3.2"/><path d="M4 17c.5-3.5 2.8-5 6-5s5.5 1.5 6 5"/>`,
	"home":   `<path d="M3 9.5 10 3.5l7 6M5 8.5V16.5h10V8.5M8.5 16.5v-4.5h3v4.5"/>`,
	"shop":   `<path d="M3.5 8 4.5 3.5h11L16.5 8M4 8v8.5h12V8M3.5 8a2.2 2.2 0 0 0 4.3 0 2.2 2.2 0 0 0 4.4 0 2.2 2.2 0 0 0 4.3 0M8 16.5V12h4v4.5"/>`,
	"cube":   `<path d="m10 2.8 6.5 3.6v7.2L10 17.2l-6.5-3.6V6.4zM3.7 6.5 10 10l6.3-3.5M10 10v7"/>`,
	"plug":   `<path d="M7 3v4M13 3v4M4.5 7h11v2.5a5.5 5.5 0 0 1-11 0zM10 15v2.5"/>`,
	"app":    `<rect x="3.5" y="3.5" width="5" height="5" rx="1"/><rect x="11.5" y="3.5" width="5" height="5" rx="1"/><rect x="3.5" y="11.5" width="5" height="5" rx="1"/><rect x="11.5" y="11.5" width="5" height="5" rx="1"/>`,
	"key":    `<circle cx="6.5" cy="13.5" r="3"/><path d="m8.7 11.3 7.3-7.3M13 7l2.5 2.5"/>`,
	"shield": `<path d="M10 2.8 16 5v5c0 3.8-2.5 6-6 7.2C6.5 16 4 13.8 4 10V5z"/>`,
	"id":     `<rect x="2.5" y="4.5" width="15" height="11" rx="1.5"/><circle cx="7" cy="9" r="1.7"/><path d="M4.6 13c.3-1.4 1.2-2 2.4-2s2.1.6 2.4 2M12 8.5h3M12 11.5h3"/>`,
	"pin":    `<path d="M10 17.5c3.5-4 5.2-6.5 5.2-9a5.2 5.2 0 0 0-10.4 0c0 2.5 1.7 5 5.2 9z"/><circle cx="10" cy="8.5" r="1.8"/>`,
	"cloud":  `<path d="M6 15.5a3.5 3.5 0 0 1-.3-7 4.8 4.8 0 0 1 9.2.8 3.1 3.1 0 0 1-.4 6.2z"/>`,
	"doc":    `<path d="M5 2.8h6.5L15 6.3v10.9H5zM11.5 2.8v3.5H15M7.5 10h5M7.5 13h5"/>`,
	"truck":  `<path d="M2.5 5h9v9.5h-9zM11.5 8h3.5l2.5 3v3.5h-6"/><circle cx="6" cy="15" r="1.6"/><circle cx="14" cy="15" r="1.6"/>`,
	"phone":  `<rect x="6" y="2.8" width="8" height="14.4" rx="1.6"/><path d="M9 14.7h2"/>`,
	"chart":  `<path d="M3 16.5h14M5.5 14V10M9 14V5.5M12.5 14V8M16 14V4"/>`,
	"list":   `<path d="M7 5.5h10M7 10h10M7 14.5h10M3.5 5.5h.01M3.5 10h.01M3.5 14.5h.01"/>`,
	"clock":  `<circle cx="10" cy="10" r="6.8"/><path d="M10 6v4.2l2.8 1.8"/>`,
	"okc":    `<circle cx="10" cy="10" r="6.8"/><path d="m7 10.2 2.2 2.2 4-4.4"/>`,
	"check":  `<path d="m4.5 10.5 3.7 3.7 7.3-8"/>`,
	"tri":    `<path d="M10 3.5 17.5 16.5h-15zM10 8.5v3.5M10 14.2h.01"/>`,
	"dia":    `<path d="m10 2.8 7.2 7.2-7.2 7.2L2.8 10zM10 6.8v4M10 13.2h.01"/>`,
	"oct":    `<path d="M7 3h6l4 4v6l-4 4H7l-4-4V7zM10 6.5v4.3M10 13.4h.01"/>`,
	"info":   `<circle cx="10" cy="10" r="6.8"/><path d="M10 9.5v4M10 6.6h.01"/>`,
	"ban":    `<circle cx="10" cy="10" r="6.8"/><path d="m5.2 5.2 9.6 9.6"/>`,
	"pause":  `<circle cx="10" cy="10" r="6.8"/><path d="M8.3 7.5v5M11.7 7.5v5"/>`,
	"run":    `<path d="M6 4v12l9.5-6z"/>`,
	"rot":    `<path d="M16.5 10a6.5 6.5 0 1 1-2-4.7M16.5 3.2v3.6h-3.6"/>`,
	"copy":   `<rect x="7" y="7" width="9.5" height="9.5" rx="1.5"/><path d="M13 7V4.5A1 1 0 0 0 12 3.5H4.5a1 1 0 0 0-1 1V12a1 1 0 0 0 1 1H7"/>`,
	"eye":    `<path d="M2.5 10S5.5 4.8 10 4.8 17.5 10 17.5 10 14.5 15.2 10 15.2 2.5 10 2.5 10z"/><circle cx="10" cy="10" r="2.3"/>`,
	"dl":     `<path d="M10 3v9.5M6 9l4 4 4-4M3.5 16.5h13"/>`,
	"up":     `<path d="M10 13.5V4M6 7.5l4-4 4 4M3.5 16.5h13"/>`,
	"ext":    `<path d="M8 4H4v12h12v-4M11.5 3.5h5v5M16 4l-7 7"/>`,
	"pen":    `<path d="m3.5 16.5.8-3.8 9-9 3 3-9 9zM11.5 5.5l3 3"/>`,
	"plus":   `<path d="M10 4v12M4 10h12"/>`,
	"minus":  `<path d="M4 10h12"/>`,
	"x":      `<path d="m5 5 10 10M15 5 5 15"/>`,
	"dots":   `<path stroke-width="2.4" d="M4.5 10h.01M10 10h.01M15.5 10h.01"/>`,
	"filter": `<path d="M3 5.5h14M5.5 10h9M8.5 14.5h3"/>`,
	"coin":   `<circle cx="10" cy="10" r="6.8"/><path d="m7 6 3 4 3-4M10 10v4.5M7.5 10.5h5M7.5 12.5h5"/>`,
	"tkt":    `<path d="M3 5.5h14v3a1.6 1.6 0 0 0 0 3v3H3v-3a1.6 1.6 0 0 0 0-3zM12 5.5v9"/>`,
	"chat":   `<path d="M3 4.5h14v9.5H9.5L6 17v-3H3z"/>`,
	"term":   `<rect x="2.8" y="4" width="14.4" height="12" rx="1.5"/><path d="m5.8 8 2.5 2-2.5 2M10 12.5h4"/>`,
	"gear":   `<circle cx="10" cy="10" r="1.9"/><circle cx="10" cy="10" r="5"/><path d="M10 5V2.8M10 17.2V15M5 10H2.8M17.2 10H15M6.5 6.5 4.9 4.9M15.1 15.1l-1.6-1.6M6.5 13.5l-1.6 1.6M15.1 4.9l-1.6 1.6"/>`,
	"down":   `<path d="m5.5 8 4.5 4.5L14.5 8"/>`,
	"left":   `<path d="M12.5 5 7.5 10l5 5"/>`,
	"right":  `<path d="m7.5 5 5 5-5 5"/>`,
	"out":    `<path d="M8 4H4v12h4M12 6.5l3.5 3.5-3.5 3.5M8 10h7.5"/>`,
	"keys":   `<rect x="2.5" y="5.5" width="15" height="9" rx="1.5"/><path d="M5.5 8.5h.01M8.5 8.5h.01M11.5 8.5h.01M14.5 8.5h.01M6.5 11.8h7"/>`,
}

// icon is a drawing beside a word, hidden from screen readers, which read the word.
func icon(name string) template.HTML {
	paths, ok := icons[name]
	if !ok {
		paths = icons["cube"]
	}
	return template.HTML(`<svg class="i" viewBox="0 0 20 20" aria-hidden="true">` + paths + `</svg>`)
}
