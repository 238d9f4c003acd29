package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// syntax words each error of the TOML library as a single line.
func syntax(path string, err error) error {
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) {
		var all []error
		for _, e := range unknown.Errors {
			line, _ := e.Position()
			all = append(all, fmt.Errorf("%s:%d: unknown setting %q%s", path, line, strings.Join(e.Key(), "."), otherTable(e.Key())))
		}
		return errors.Join(all...)
	}
	var bad *toml.DecodeError
	if errors.As(err, &bad) {
		line, column := bad.Position()
		key, text := strings.Join(bad.Key(), "."), strings.TrimPrefix(bad.Error(), "toml: ")
		if wanted := kindOf(bad.Key()); wanted != "" && strings.HasPrefix(text, "cannot ") {
			text = "is not " + wanted
		}
		if strings.HasSuffix(text, "at start of value") || strings.HasPrefix(text, "expected newline but got") { // of info, inf is a number
			text += "; a value is a string in quotes, a number, true or false, or a list"
		}
		if text == "basic strings cannot have new lines" {
			text = "a string in quotes does not end on its line"
		}
		if strings.HasPrefix(text, "invalid escape character") {
			text += `; between double quotes, write \\ for a backslash`
		}
		if key != "" {
			key = key + ": "
		}
		return fmt.Errorf("%s:%d:%d: %s%s", path, line, column, key, text)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// otherTable returns a hint where a setting with this name belongs: someone who removes the
// comment sign from a setting but not from its table sets it in the preceding table. It is
// empty for a name that no table has.
func otherTable(key []string) string {
	name := key[len(key)-1]
	if _, ok := setting(reflect.TypeFor[file](), name); ok {
		return fmt.Sprintf("; %s must come before the first line with a [table]", name)
	}
	for _, table := range reflect.VisibleFields(reflect.TypeFor[file]()) {
		if t := pointedTo(table.Type); t.Kind() != reflect.Struct {
			continue
		} else if _, ok := setting(t, name); ok {
			return fmt.Sprintf("; %s belongs to [%s], whose line must come before it, without a #", name, table.Tag.Get("toml"))
		}
	}
	return ""
}

// setting returns the field of a table for a setting.
func setting(table reflect.Type, name string) (reflect.StructField, bool) {
	fields := reflect.VisibleFields(table)
	i := slices.IndexFunc(fields, func(f reflect.StructField) bool { return f.Tag.Get("toml") == name })
	if i < 0 {
		return reflect.StructField{}, false
	}
	return fields[i], true
}

// pointedTo returns t without pointers.
func pointedTo(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// kindOf describes the values of a setting; the library only uses the names of Go types. It is
// empty for keys that are not settings.
func kindOf(key []string) string {
	t := reflect.TypeFor[file]()
	for _, name := range key {
		t = pointedTo(t)
		switch t.Kind() {
		case reflect.Map:
			t = t.Elem()
		case reflect.Struct:
			field, ok := setting(t, name)
			if !ok {
				return ""
			}
			t = field.Type
		default:
			return ""
		}
	}
	switch pointedTo(t).Kind() {
	case reflect.String:
		return `a string in quotes, such as "a"`
	case reflect.Slice:
		return `a list of strings, such as ["a", "b"]`
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Struct, reflect.Map:
		return "a table, such as [" + strings.Join(key, ".") + "]"
	}
	return ""
}
