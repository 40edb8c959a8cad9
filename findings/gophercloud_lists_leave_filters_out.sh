#!/usr/bin/env bash
# gophercloud 0.12.0 (Debian 12), filters of lists of images and tasks.
#
# Guess: each field of ListOpts is part of the query.
# Seen: SizeMin and SizeMax of images are not sent, because they are int64 and only int becomes text; ID
# and Type of tasks are not sent, because they are declared as fields of JSON. The service lists
# everything, and programs (Terraform's data source with size_min) go on with images that they did
# not ask for. The same in the source of 2.14.0.
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
	"os"

	"github.com/gophercloud/gophercloud/openstack/imageservice/v2/images"
	"github.com/gophercloud/gophercloud/openstack/imageservice/v2/tasks"
)

func main() {
	all := images.ListOpts{Name: "one", Limit: 7, SizeMin: 1000, SizeMax: 2000}
	ofImages, err := all.ToImageListQuery()
	if err != nil {
		panic(err)
	}
	ofTasks, err := tasks.ListOpts{ID: "0a3cb4b3", Type: "import", Status: "success"}.ToTaskListQuery()
	if err != nil {
		panic(err)
	}
	fmt.Println("images:", ofImages)
	fmt.Println("tasks:", ofTasks)
	if ofImages != "?limit=7&name=one" || ofTasks != "?status=success" {
		os.Exit(1)
	}
}
GO
cd "$folder"
GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE="$folder/cache" go run main.go
