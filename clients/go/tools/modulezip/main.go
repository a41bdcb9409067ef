// Modulezip publishes a module into a directory that serves as a module proxy: modulezip MODULE_DIR PATH VERSION PROXY_DIR.
// VERSION is followed by a digest of the content, so that no cache mistakes one build for another. Prints the version.
package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 5 {
		log.Fatal("usage: modulezip MODULE_DIR PATH VERSION PROXY_DIR")
	}
	version, err := publish(os.Args[1], os.Args[2], os.Args[3], os.Args[4])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(version)
}

func publish(directory, path, version, proxy string) (string, error) {
	var content bytes.Buffer
	if err := zip.CreateFromDir(&content, module.Version{Path: path, Version: version}, directory); err != nil {
		return "", err
	}
	version = fmt.Sprintf("%s-build.h%x", version, sha256.Sum256(content.Bytes()))[:len(version)+20]
	content.Reset()
	if err := zip.CreateFromDir(&content, module.Version{Path: path, Version: version}, directory); err != nil {
		return "", err
	}
	requirements, err := os.ReadFile(filepath.Join(directory, "go.mod"))
	if err != nil {
		return "", err
	}
	versions := filepath.Join(proxy, filepath.FromSlash(path), "@v")
	if err := os.MkdirAll(versions, 0o755); err != nil {
		return "", err
	}
	files := map[string][]byte{
		"list":            []byte(version + "\n"),
		version + ".info": fmt.Appendf(nil, `{"Version": %q}`, version),
		version + ".mod":  requirements,
		version + ".zip":  content.Bytes(),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(versions, name), text, 0o644); err != nil {
			return "", err
		}
	}
	return version, nil
}
