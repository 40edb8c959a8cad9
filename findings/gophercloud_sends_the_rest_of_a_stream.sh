#!/usr/bin/env bash
# gophercloud 0.12.0 (Debian 12), image upload with a token that has expired.
#
# Guess: with AllowReauth the client signs in again and sends the whole data again, or gives up where it
# cannot go back to their beginning.
# Seen: it goes back if it can, and sends what is left if not. A stream whose first attempt was read by
# the server is stored as an empty image, and the client reports success. An *os.File was closed with the
# first request: what is left of it cannot be read, and the call fails. Only a reader that can seek and
# cannot be closed, such as bytes.Reader, is sent whole. 2.14.0 says when it cannot seek in a file; the
# rest is the same in its source.
#
# Needs Debian 12 with golang-go and golang-github-gophercloud-gophercloud-dev. Exits 0 if this version
# still behaves so.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cat >"$folder/main.go" <<'GO'
package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/gophercloud/gophercloud"
	"github.com/gophercloud/gophercloud/openstack/imageservice/v2/imagedata"
)

const size = 9_000_000

// upload sends data with a token that has expired; how many bytes the second request had, and what
// the client says.
func upload(data io.Reader) (int64, error) {
	stored := int64(-1)
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		received, _ := io.Copy(io.Discard, request.Body)
		if request.Header.Get("X-Auth-Token") == "expired" {
			answer.WriteHeader(http.StatusUnauthorized)
			return
		}
		stored = received
		answer.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	provider := &gophercloud.ProviderClient{TokenID: "expired"}
	provider.ReauthFunc = func() error {
		provider.SetToken("new")
		return nil
	}
	service := &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: server.URL + "/v2/"}
	err := imagedata.Upload(service, "0a3cb4b3-2b2c-4a56-a0f9-8ad1a3ed8c52", data).ExtractErr()
	return stored, err
}

func main() {
	data := make([]byte, size)
	if _, err := rand.Read(data); err != nil {
		panic(err)
	}
	if err := os.WriteFile(os.Args[1], data, 0o600); err != nil {
		panic(err)
	}
	file, err := os.Open(os.Args[1])
	if err != nil {
		panic(err)
	}
	stored, said := upload(bytes.NewReader(data))
	fmt.Printf("bytes.Reader: %d bytes stored, the client says: %v\n", stored, said)
	right := stored == size && said == nil
	stored, said = upload(io.MultiReader(bytes.NewReader(data)))
	fmt.Printf("a stream: %d bytes stored, the client says: %v\n", stored, said)
	right = right && stored == 0 && said == nil
	stored, said = upload(file)
	fmt.Printf("os.File: %d bytes stored, the client says: %v\n", stored, said)
	if !right || said == nil {
		os.Exit(1)
	}
}
GO
cd "$folder"
GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE="$folder/cache" go run main.go "$folder/disk.raw"
