package main

import (
	"maildird/scripts/mailgen"
	"maildird/scripts/rig"
)

// generate writes n messages to dir/cur and returns their total size in octets.
func generate(dir string, n int) (octets int64, err error) {
	if octets, err = mailgen.Fill(dir, n); err != nil {
		return 0, err
	}
	return octets, rig.Own(dir)
}
