#!/usr/bin/env bash
# gophercloud 0.12.0 (Debian 12), an image with a property whose name is `metadata`.
#
# Guess: properties with any name that the service accepts are in Properties.
# Seen: one image with such a property, of anyone who made it public, and images.List fails for all: the
# client takes `metadata` for a map, and a property is text. The same with names of attributes in
# other case that are no text, such as Min_Disk, because Go compares names of JSON without case; and
# with `properties`, which 2.14.0 has mended by its source.
#
# Needs Debian 12 with golang-go and golang-github-gophercloud-gophercloud-dev. Exits 0 if this version
# still behaves so.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cat >"$folder/main.go" <<'GO'
package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/gophercloud/gophercloud"
	"github.com/gophercloud/gophercloud/openstack/imageservice/v2/images"
)

// list lists two images; the second has a property of this name.
func list(property string) error {
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
		answer.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(answer, `{"images": [{"id": "one", "min_disk": 1}, {"id": "two", "min_disk": 1, %q: "red"}]}`, property)
	}))
	defer server.Close()
	service := &gophercloud.ServiceClient{ProviderClient: &gophercloud.ProviderClient{}, Endpoint: server.URL + "/v2/"}
	page, err := images.List(service, nil).AllPages()
	if err != nil {
		return err
	}
	_, err = images.ExtractImages(page)
	return err
}

func main() {
	failed := false
	for property, fails := range map[string]bool{"colour": false, "metadata": true, "properties": true, "Min_Disk": true} {
		err := list(property)
		fmt.Printf("%s: %v\n", property, err)
		failed = failed || (err != nil) != fails
	}
	if failed {
		os.Exit(1)
	}
}
GO
cd "$folder"
GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE="$folder/cache" go run main.go
