// Calls a protected service on behalf of a user.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"

	tokenmint "tokenmint.dev/client-go"
)

func main() {
	client, err := tokenmint.New(os.Getenv("TOKENMINT_TARGET"),
		tokenmint.WithClientSecret(os.Getenv("TOKENMINT_CLIENT_ID"), os.Getenv("TOKENMINT_CLIENT_SECRET")),
		tokenmint.WithCAFile(os.Getenv("TOKENMINT_CA_FILE")))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	source := client.TokenSource() // one for the whole program
	user := tokenmint.StaticSubject(os.Getenv("SUBJECT_TOKEN"))
	transport, err := source.For(user, os.Getenv("TOKENMINT_AUDIENCE")).Transport(nil, os.Getenv("SERVICE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	answer, err := (&http.Client{Transport: transport}).Get(os.Getenv("SERVICE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	fmt.Println(string(body))
}
