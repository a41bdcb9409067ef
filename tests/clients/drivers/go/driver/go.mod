module tokenmint.dev/client-go-driver

go 1.26.0
