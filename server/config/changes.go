package config

import (
	"reflect"
	"regexp"
	"strings"
)

// Changes returns the settings outside of tables, and the tables, that differ between two
// configurations, in the order of Config and with their names in the file: "cache_dir", "tls".
func Changes(before, now *Config) []string {
	var out []string
	a, b := reflect.ValueOf(*before), reflect.ValueOf(*now)
	for i, f := range reflect.VisibleFields(a.Type()) {
		if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			out = append(out, strings.ToLower(wordStart.ReplaceAllString(f.Name, "${1}_${2}")))
		}
	}
	return out
}

// wordStart matches the beginning of a word in a name such as CacheDir.
var wordStart = regexp.MustCompile(`([a-z])([A-Z])`)
