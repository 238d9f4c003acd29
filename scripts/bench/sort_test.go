package main

import (
	"slices"
	"testing"
)

func TestOrdered(t *testing.T) {
	for data, want := range map[string][]string{
		"* 3 EXISTS\r\n* SORT 30 1 2\r\n": {"30", "1", "2"},
		"* SORT\r\n":                      nil,
		"* THREAD (1)(20 3 (4)(5 6))((7)(8))\r\n* 9 EXISTS\r\n": {"(1)", "(20 3 (4)(5 6))", "((7)(8))"},
		"* THREAD\r\n": nil,
	} {
		if got := ordered([]byte(data)).lines; !slices.Equal(got, want) {
			t.Errorf("%q is %q, want %q", data, got, want)
		}
	}
	a, b := ordered([]byte("* SORT 1 2 3\r\n")), ordered([]byte("* SORT 1 3 2\r\n"))
	if a.difference(b) == "" {
		t.Error("another order is no difference")
	}
}
