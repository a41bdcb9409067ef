// Modulezip publishes a module into a directory that serves as a module proxy:
// modulezip [-digest] MODULE_DIR PATH VERSION PROXY_DIR. Prints the version.
// With -digest, VERSION is followed by a digest of the content, so that no cache mistakes one build for another.
package main

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

func main() {
	log.SetFlags(0)
	digest := flag.Bool("digest", false, "append a digest of the content to the version")
	flag.Parse()
	if flag.NArg() != 4 {
		log.Fatal("usage: modulezip [-digest] MODULE_DIR PATH VERSION PROXY_DIR")
	}
	version := module.Version{Path: flag.Arg(1), Version: flag.Arg(2)}
	if err := publish(&version, *digest, flag.Arg(0), flag.Arg(3)); err != nil {
		log.Fatal(err)
	}
	fmt.Println(version.Version)
}

func publish(version *module.Version, digest bool, directory, proxy string) error {
	var content bytes.Buffer
	if err := zip.CreateFromDir(&content, *version, directory); err != nil {
		return err
	}
	if digest {
		version.Version = fmt.Sprintf("%s-build.h%x", version.Version, sha256.Sum256(content.Bytes()))[:len(version.Version)+20]
		content.Reset()
		if err := zip.CreateFromDir(&content, *version, directory); err != nil {
			return err
		}
	}
	requirements, err := os.ReadFile(filepath.Join(directory, "go.mod"))
	if err != nil {
		return err
	}
	versions := filepath.Join(proxy, filepath.FromSlash(version.Path), "@v")
	if err := os.MkdirAll(versions, 0o755); err != nil {
		return err
	}
	files := map[string][]byte{
		"list":                    []byte(version.Version + "\n"),
		version.Version + ".info": fmt.Appendf(nil, `{"Version": %q}`, version.Version),
		version.Version + ".mod":  requirements,
		version.Version + ".zip":  content.Bytes(),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(versions, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
