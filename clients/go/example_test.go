package tokenmint_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"google.golang.org/grpc"

	tokenmint "tokenmint.dev/client-go"
)

func ExampleVerifier_Middleware() {
	verifier, err := tokenmint.NewVerifier("https://tokens.example", "https://orders.example")
	if err != nil {
		fmt.Println(err)
		return
	}
	orders := http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		claims, _ := tokenmint.ClaimsFromContext(request.Context())
		_, _ = fmt.Fprintln(writer, "orders of", claims.Subject)
	})
	http.Handle("/orders", verifier.Middleware(orders, "orders.read"))
	server := grpc.NewServer(
		grpc.UnaryInterceptor(verifier.UnaryServerInterceptor(tokenmint.Except{"/grpc.health.v1.Health/"}, "orders.read")),
		grpc.StreamInterceptor(verifier.StreamServerInterceptor(nil, "orders.read")))
	defer server.Stop()

	answer := httptest.NewRecorder()
	http.DefaultServeMux.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/orders", nil))
	fmt.Println(answer.Code, answer.Header().Get("WWW-Authenticate"))
	// Output: 401 Bearer
}

func ExampleResource_Middleware() {
	verifier, err := tokenmint.NewVerifier("https://tokens.example", "https://orders.example")
	if err != nil {
		fmt.Println(err)
		return
	}
	orders := http.NotFoundHandler()
	resource, err := tokenmint.NewResource(verifier, tokenmint.ResourceConfig{Resource: "https://orders.example/api"})
	if err != nil {
		fmt.Println(err)
		return
	}
	http.Handle("/", resource.Middleware(orders, "orders.read")) // serves the metadata too

	answer := httptest.NewRecorder()
	http.DefaultServeMux.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, resource.MetadataPath(), nil))
	fmt.Println(answer.Code, resource.MetadataURL())
	// Output: 200 https://orders.example/.well-known/oauth-protected-resource/api
}
