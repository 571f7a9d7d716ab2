// Package journey is the walk through the whole house, as a test: a seller publishes an
// API, a buyer finds it, buys it and calls it until the package is spent, and the operator
// sees what was used. It is what we show people, so it must work.
//
// Everything is done with the public JSON API, the gateway and generated SDKs; see the
// test.
package journey
