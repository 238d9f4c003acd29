package main

import (
	"context"
	"fmt"

	"maildird/scripts/mailgen"
)

var appendMessages = &workload{
	name: "append",
	rows: []row{
		{name: "APPEND, durable, 4 KiB, 1 connection", unit: perSecond, target: 2, operation: appending},
		{name: "APPEND, durable, 4 KiB, 8 connections", unit: perSecond, target: 2, operation: appending},
	},
	run: func(_ context.Context, b *bench, s *server) ([]float64, *answer, error) {
		b.folders++
		name := fmt.Sprintf("A%d", b.folders)
		c, err := dialIMAP(s)
		if err != nil {
			return nil, nil, err
		}
		defer c.close()
		if _, err := c.do("CREATE %s", name); err != nil {
			return nil, nil, err
		}
		var rates []float64
		for _, load := range []struct{ connections, each int }{{1, 240}, {8, 60}} {
			rate, err := parallel(load.connections, load.each, func() (func(int) error, func(), error) {
				c, err := dialIMAP(s)
				if err != nil {
					return nil, nil, err
				}
				return func(i int) error {
					data := mailgen.Letter(i, letterSize)
					_, err := c.do("APPEND %s (\\Seen) {%d+}\r\n%s", name, len(data), data)
					return err
				}, c.close, nil
			})
			if err != nil {
				return nil, nil, err
			}
			rates = append(rates, rate)
		}
		data, err := c.do("SELECT %s", name)
		return rates, selected(data), err
	},
}
