package server

import (
	"context"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// profiles serves Go's profiles of the program (go tool pprof) to users of this machine.
type profiles struct{ http *http.Server }

func newProfiles() profiles {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return profiles{&http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}}
}

// Serve implements service.
func (p profiles) Serve(l net.Listener, _ bool) error { return p.http.Serve(l) }

// Shutdown implements service. It does not wait for a running profile.
func (p profiles) Shutdown(context.Context) error { return p.http.Close() }
