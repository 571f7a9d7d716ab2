// Command filter-outside is souk with one filter more, kept in a module of its own: it
// takes in the plug-ins and filters of the standard build, and the one from outside.
package main

import (
	"os"

	_ "example.com/filter-outside/shout"
	_ "github.com/souk-market/souk/console/standard"
	"github.com/souk-market/souk/examples/command"
	_ "github.com/souk-market/souk/gateway/standard"
)

func main() { os.Exit(command.Main()) }
