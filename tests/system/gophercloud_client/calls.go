package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"

	"github.com/gophercloud/gophercloud"
	"github.com/gophercloud/gophercloud/openstack/imageservice/v2/imagedata"
	"github.com/gophercloud/gophercloud/openstack/imageservice/v2/imageimport"
	"github.com/gophercloud/gophercloud/openstack/imageservice/v2/images"
	"github.com/gophercloud/gophercloud/openstack/imageservice/v2/members"
	"github.com/gophercloud/gophercloud/openstack/imageservice/v2/tasks"
)

// A call of a function of gophercloud with arguments in JSON.
type call func(service *gophercloud.ServiceClient, arguments json.RawMessage) (interface{}, error)

// calls has every function of the packages about images, by its name there.
var calls = map[string]call{
	"images.List": func(service *gophercloud.ServiceClient, arguments json.RawMessage) (interface{}, error) {
		var options images.ListOpts
		if err := json.Unmarshal(arguments, &options); err != nil {
			return nil, err
		}
		page, err := images.List(service, options).AllPages()
		if err != nil {
			return nil, err
		}
		return images.ExtractImages(page)
	},
	"images.Create": func(service *gophercloud.ServiceClient, arguments json.RawMessage) (interface{}, error) {
		var options struct {
			images.CreateOpts
			Properties map[string]string
		}
		if err := json.Unmarshal(arguments, &options); err != nil {
			return nil, err
		}
		options.CreateOpts.Properties = options.Properties
		return images.Create(service, options.CreateOpts).Extract()
	},
	"images.Get": named(func(service *gophercloud.ServiceClient, what subject) (interface{}, error) {
		return images.Get(service, what.ID).Extract()
	}),
	"images.Update": func(service *gophercloud.ServiceClient, arguments json.RawMessage) (interface{}, error) {
		var told struct {
			ID      string
			Patches []struct {
				Kind   string
				Fields json.RawMessage
			}
		}
		if err := json.Unmarshal(arguments, &told); err != nil {
			return nil, err
		}
		var options images.UpdateOpts
		for _, one := range told.Patches {
			patch := patches[one.Kind]()
			if err := json.Unmarshal(one.Fields, patch); err != nil {
				return nil, err
			}
			options = append(options, patch)
		}
		return images.Update(service, told.ID, options).Extract()
	},
	"images.Delete": named(func(service *gophercloud.ServiceClient, what subject) (interface{}, error) {
		return nil, images.Delete(service, what.ID).ExtractErr()
	}),

	"imagedata.Upload": named(func(service *gophercloud.ServiceClient, what subject) (interface{}, error) {
		data, err := what.open()
		if err != nil {
			return nil, err
		}
		return nil, imagedata.Upload(service, what.ID, data).ExtractErr()
	}),
	"imagedata.Stage": named(func(service *gophercloud.ServiceClient, what subject) (interface{}, error) {
		data, err := what.open()
		if err != nil {
			return nil, err
		}
		return nil, imagedata.Stage(service, what.ID, data).ExtractErr()
	}),
	"imagedata.Download": named(func(service *gophercloud.ServiceClient, what subject) (interface{}, error) {
		data, err := imagedata.Download(service, what.ID).Extract()
		if err != nil {
			return nil, err
		}
		defer data.Close()
		file, err := os.Create(what.File)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		return io.Copy(file, data)
	}),

	"imageimport.Get": named(func(service *gophercloud.ServiceClient, what subject) (interface{}, error) {
		return imageimport.Get(service).Extract()
	}),
	"imageimport.Create": named(func(service *gophercloud.ServiceClient, what subject) (interface{}, error) {
		options := imageimport.CreateOpts{Name: imageimport.ImportMethod(what.Method), URI: what.URI}
		return nil, imageimport.Create(service, what.ID, options).ExtractErr()
	}),

	"members.Create": named(func(service *gophercloud.ServiceClient, what subject) (interface{}, error) {
		return members.Create(service, what.ID, what.Member).Extract()
	}),
	"members.List": named(func(service *gophercloud.ServiceClient, what subject) (interface{}, error) {
		page, err := members.List(service, what.ID).AllPages()
		if err != nil {
			return nil, err
		}
		return members.ExtractMembers(page)
	}),
	"members.Get": named(func(service *gophercloud.ServiceClient, what subject) (interface{}, error) {
		return members.Get(service, what.ID, what.Member).Extract()
	}),
	"members.Update": named(func(service *gophercloud.ServiceClient, what subject) (interface{}, error) {
		options := members.UpdateOpts{Status: what.Status}
		return members.Update(service, what.ID, what.Member, options).Extract()
	}),
	"members.Delete": named(func(service *gophercloud.ServiceClient, what subject) (interface{}, error) {
		return nil, members.Delete(service, what.ID, what.Member).ExtractErr()
	}),

	"tasks.List": func(service *gophercloud.ServiceClient, arguments json.RawMessage) (interface{}, error) {
		var options tasks.ListOpts
		if err := json.Unmarshal(arguments, &options); err != nil {
			return nil, err
		}
		page, err := tasks.List(service, options).AllPages()
		if err != nil {
			return nil, err
		}
		return tasks.ExtractTasks(page)
	},
	"tasks.Get": named(func(service *gophercloud.ServiceClient, what subject) (interface{}, error) {
		return tasks.Get(service, what.ID).Extract()
	}),
	"tasks.Create": func(service *gophercloud.ServiceClient, arguments json.RawMessage) (interface{}, error) {
		var options tasks.CreateOpts
		if err := json.Unmarshal(arguments, &options); err != nil {
			return nil, err
		}
		return tasks.Create(service, options).Extract()
	},
}

// patches has every change of an image, by the name of its type in the package images.
var patches = map[string]func() images.Patch{
	"UpdateVisibility":     func() images.Patch { return new(images.UpdateVisibility) },
	"ReplaceImageName":     func() images.Patch { return new(images.ReplaceImageName) },
	"ReplaceImageChecksum": func() images.Patch { return new(images.ReplaceImageChecksum) },
	"ReplaceImageTags":     func() images.Patch { return new(images.ReplaceImageTags) },
	"ReplaceImageMinDisk":  func() images.Patch { return new(images.ReplaceImageMinDisk) },
	"ReplaceImageMinRam":   func() images.Patch { return new(images.ReplaceImageMinRam) },
	"UpdateImageProperty":  func() images.Patch { return new(images.UpdateImageProperty) },
}

// subject is what a function without options is called with.
type subject struct {
	ID, Member, Status, Method, URI string
	File                            string // with the data, or for it
	As                              string // "file", "bytes", or "stream", which cannot begin again
}

func named(do func(*gophercloud.ServiceClient, subject) (interface{}, error)) call {
	return func(service *gophercloud.ServiceClient, arguments json.RawMessage) (interface{}, error) {
		var what subject
		if err := json.Unmarshal(arguments, &what); err != nil {
			return nil, err
		}
		return do(service, what)
	}
}

// open returns the data as programs have it.
func (what subject) open() (io.Reader, error) {
	if what.As == "bytes" {
		data, err := os.ReadFile(what.File)
		return bytes.NewReader(data), err
	}
	file, err := os.Open(what.File)
	if what.As == "stream" {
		return io.MultiReader(file), err
	}
	return file, err
}
