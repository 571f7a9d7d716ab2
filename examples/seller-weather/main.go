// Command seller-weather is a seller's own server: a small weather API that knows nothing
// of marketplaces. Its description, weather/openapi.yaml, is what the seller imports.
//
// Run it with: go run ./examples/seller-weather -listen 127.0.0.1:9000
package main

import (
	"flag"
	"log"
	"net/http"
	"time"

	"github.com/souk-market/souk/examples/seller-weather/weather"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9000", "address to listen on")
	flag.Parse()
	server := &http.Server{Addr: *listen, Handler: weather.Handler(time.Now), ReadHeaderTimeout: 10 * time.Second}
	log.Printf("weather on http://%s/weather/now?city=hangzhou", *listen)
	log.Fatal(server.ListenAndServe())
}
