// A program that calls gophercloud as it is told, one order a line of standard input, as JSON:
//
//	{"user": "ann", "environment": {"OS_…": "…"}} signs a user in, from what a file openrc sets;
//	{"user": "ann", "call": "images.Get", "arguments": {"ID": "…"}} calls a function for this user.
//
// Each is answered by one line on standard output: {"value": …} with the names of fields of Go, or
// {"error": "…", "kind": "…"} with the type of the error.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"time"

	"github.com/gophercloud/gophercloud"
	"github.com/gophercloud/gophercloud/openstack"
)

type order struct {
	User        string
	Environment map[string]string
	Call        string
	Arguments   json.RawMessage
}

type answer struct {
	Value interface{} `json:"value"`
	Error string      `json:"error,omitempty"`
	Kind  string      `json:"kind,omitempty"`
}

func main() {
	services := map[string]*gophercloud.ServiceClient{}
	lines := bufio.NewScanner(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		value, err := obey(lines.Bytes(), services)
		told := answer{Value: plain(reflect.ValueOf(value))}
		if err != nil {
			told = answer{Error: err.Error(), Kind: fmt.Sprintf("%T", err)}
		}
		if err := answers.Encode(told); err != nil {
			panic(err)
		}
	}
}

func obey(line []byte, services map[string]*gophercloud.ServiceClient) (interface{}, error) {
	var told order
	if err := json.Unmarshal(line, &told); err != nil {
		return nil, err
	}
	if told.Environment != nil {
		service, err := signIn(told.Environment)
		if err != nil {
			return nil, err
		}
		services[told.User] = service
		return map[string]string{"URL": service.ServiceURL(), "Token": service.Token()}, nil
	}
	return calls[told.Call](services[told.User], told.Arguments)
}

// signIn finds the service of images in the catalogue of a user, who is signed in again when the
// token ends.
func signIn(environment map[string]string) (*gophercloud.ServiceClient, error) {
	os.Clearenv()
	for name, text := range environment {
		os.Setenv(name, text)
	}
	options, err := openstack.AuthOptionsFromEnv()
	if err != nil {
		return nil, err
	}
	options.AllowReauth = true
	provider, err := openstack.AuthenticatedClient(options)
	if err != nil {
		return nil, err
	}
	place := gophercloud.EndpointOpts{Region: os.Getenv("OS_REGION_NAME")}
	return openstack.NewImageServiceV2(provider, place)
}

// plain returns what gophercloud made of an answer. Its own JSON would leave out what it read in a
// way of its own, such as sizes.
func plain(value reflect.Value) interface{} {
	switch value.Kind() {
	case reflect.Invalid:
		return nil
	case reflect.Ptr, reflect.Interface:
		return plain(value.Elem())
	case reflect.Slice:
		all := []interface{}{}
		for index := 0; index < value.Len(); index++ {
			all = append(all, plain(value.Index(index)))
		}
		return all
	case reflect.Struct:
		if moment, is := value.Interface().(time.Time); is {
			return moment.Format(time.RFC3339)
		}
		fields := map[string]interface{}{}
		for index := 0; index < value.NumField(); index++ {
			fields[value.Type().Field(index).Name] = plain(value.Field(index))
		}
		return fields
	}
	return value.Interface()
}
