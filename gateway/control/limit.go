package control

import "time"

// Limit bounds how fast a route is called, never how many calls somebody has left. All
// limits of a call are taken together or not at all.
type Limit struct {
	Name string `json:"name"` // shown to who meets it
	By   By     `json:"by"`
	// Param is what ByParam counts by: "query:name", "header:X-Name", "path:name" or
	// "form:name".
	Param  string        `json:"param,omitempty"`
	Calls  int64         `json:"calls"`  // in Window
	Window time.Duration `json:"window"` // a second, a minute, an hour, a day, or any other
	// Smooth spreads the calls over the window (GCRA), with at most Burst at once. Otherwise
	// the window is fixed and exact, and begins with the clock's second, minute, hour, day.
	Smooth bool  `json:"smooth,omitempty"`
	Burst  int64 `json:"burst,omitempty"` // 0: 1
	// Special gives some apps, or accounts that own them, a number of their own.
	Special map[string]int64 `json:"special,omitempty"`
	// Shared makes all routes that have a limit of this name in one group count together.
	// Otherwise each route counts for itself.
	Shared bool `json:"shared,omitempty"`
}

// By is whom a limit counts.
type By string

// Whom limits count.
const (
	ByRoute   By = "api"     // all callers of the route together
	ByApp     By = "app"     // each app
	ByUser    By = "user"    // each account that owns apps
	ByAddress By = "address" // each address
	ByParam   By = "param"   // each value of Param
	ByGroup   By = "group"   // all calls to the group
)

// Mode is how a request becomes the seller's.
type Mode string

// The request modes.
const (
	PassThrough Mode = ""       // as it came, less what is not for the seller
	Mapped      Mode = "mapped" // only the parameters that the route defines
)

// Place is where a parameter stands.
type Place string

// The places of parameters.
const (
	InPath   Place = "path"
	InQuery  Place = "query"
	InHeader Place = "header"
	InForm   Place = "form"
)

// Parameter is one that the route defines.
type Parameter struct {
	Name     string `json:"name"`
	In       Place  `json:"in"`
	Required bool   `json:"required,omitempty"`
	Default  string `json:"default,omitempty"`
	// At the seller; empty: as at the caller.
	ToName string `json:"to_name,omitempty"`
	To     Place  `json:"to,omitempty"`
}

// Constant is a parameter that the seller gets with every call. System, if set, names a
// system parameter whose value it has: "CaClientIp", "CaDomain", "CaRequestHandleTime",
// "CaAppId", "CaAppKey", "CaRequestId", "CaApiName", "CaHttpSchema", "CaProxy", "CaStage",
// "CaMarketplaceProduct".
type Constant struct {
	Name   string `json:"name"`
	In     Place  `json:"in"`
	Value  string `json:"value,omitempty"`
	System string `json:"system,omitempty"`
}

// Mock is an answer without a seller.
type Mock struct {
	Status  int        `json:"status"`
	Headers [][]string `json:"headers,omitempty"` // name, value
	Body    string     `json:"body"`
}
