// A service that only tokens of tokenmint open.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"

	tokenmint "tokenmint.dev/client-go"
)

func hello(writer http.ResponseWriter, request *http.Request) {
	claims, _ := tokenmint.ClaimsFromContext(request.Context())
	fmt.Fprintf(writer, "hello %s", claims.Subject)
}

func main() {
	verifier, err := tokenmint.NewVerifier(os.Getenv("TOKENMINT_ISSUER"), os.Getenv("TOKENMINT_AUDIENCE"))
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())
	log.Fatal(http.Serve(listener, verifier.Middleware(http.HandlerFunc(hello), "read")))
}
