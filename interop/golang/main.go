// One member of a ring of golang/groupcache, as a Go team would write it: a pool of peers over HTTP, one group, and a
// getter that asks an API. Beside other members of any kind it shows what a real Go peer sends and answers.
//
// The peer port is served by the pool itself, or by an http.ServeMux in front of it, which redirects some paths. A
// second port serves data, as the program carrot does: GET /v1/{group}/{key}, where the key is the rest of the raw
// path, decoded once. Nothing here mends what groupcache does: its transport, its escapes and its errors are its own.
//
// It prints "peer ADDRESS" and "data ADDRESS" once both ports accept, and ends when its standard input does, so that
// it never outlives whoever started it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/golang/groupcache"
)

// The API has no such key. groupcache hands it on as it is where the getter ran here, and loses it on the wire.
var errNotFound = errors.New("no such key")

// What the member is told.
type settings struct {
	self    string
	peers   string
	data    string
	group   string
	origin  string
	mux     bool
	memory  int64
	timeout time.Duration
}

func main() {
	told := read()
	if err := run(told); err != nil {
		fmt.Fprintln(os.Stderr, "member:", err)
		os.Exit(1)
	}
}

func read() settings {
	var told settings
	flag.StringVar(&told.self, "self", "", "this member's URL, spelled as in -peers; its port is listened on")
	flag.StringVar(&told.peers, "peers", "", "the URLs of all members, with commas between")
	flag.StringVar(&told.data, "data", "127.0.0.1:0", "where data is served")
	flag.StringVar(&told.group, "group", "keys", "the group's name")
	flag.StringVar(&told.origin, "origin", "", "what is asked for a value; the escaped key is put at its end")
	flag.BoolVar(&told.mux, "mux", false, "serve the pool behind an http.ServeMux")
	flag.Int64Var(&told.memory, "memory", 256<<20, "bytes for the group's entries")
	flag.DurationVar(&told.timeout, "timeout", 30*time.Second, "for one request to the origin")
	flag.Parse()
	return told
}

// run serves both ports until standard input ends.
func run(told settings) error {
	self, err := url.Parse(told.self)
	if err != nil {
		return err
	}
	pool := groupcache.NewHTTPPoolOpts(told.self, &groupcache.HTTPPoolOptions{})
	pool.Set(strings.Split(told.peers, ",")...)
	groupcache.NewGroup(told.group, told.memory, getter(told))

	peer, err := net.Listen("tcp", self.Host)
	if err != nil {
		return err
	}
	data, err := net.Listen("tcp", told.data)
	if err != nil {
		return err
	}
	failed := make(chan error, 3)
	go func() { failed <- http.Serve(peer, peerHandler(pool, told.mux)) }()
	go func() { failed <- http.Serve(data, http.HandlerFunc(serveData)) }()
	go func() { failed <- untilEnd(os.Stdin) }()
	fmt.Printf("peer %v\ndata %v\n", peer.Addr(), data.Addr())
	return <-failed
}

// untilEnd comes back when whoever holds the other end of the input lets go of it.
func untilEnd(input io.Reader) error {
	_, err := io.Copy(io.Discard, input)
	return err
}

// peerHandler is the pool itself, which takes every path as it comes, or a ServeMux that cleans paths first.
func peerHandler(pool *groupcache.HTTPPool, mux bool) http.Handler {
	if !mux {
		return pool
	}
	router := http.NewServeMux()
	router.Handle("/_groupcache/", pool)
	return router
}

// getter asks the origin. Its connections are kept: only how many there are differs from Go's default.
func getter(told settings) groupcache.Getter {
	client := &http.Client{
		Timeout:   told.timeout,
		Transport: &http.Transport{MaxIdleConnsPerHost: 64},
	}
	return groupcache.GetterFunc(func(ctx context.Context, key string, dest groupcache.Sink) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, told.origin+escape(key), nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		value, err := io.ReadAll(response.Body)
		switch {
		case err != nil:
			return err
		case response.StatusCode == http.StatusNotFound:
			return errNotFound
		case response.StatusCode != http.StatusOK:
			return fmt.Errorf("the origin answered %s", response.Status)
		}
		return dest.SetBytes(value)
	})
}

// escape writes every byte of the key as %XX, so that nothing on the way has an opinion about any of them.
func escape(key string) string {
	var escaped strings.Builder
	for i := 0; i < len(key); i++ {
		fmt.Fprintf(&escaped, "%%%02X", key[i])
	}
	return escaped.String()
}

// serveData answers GET /v1/{group}/{key}. There is no router: the target is read as it was sent.
func serveData(w http.ResponseWriter, r *http.Request) {
	group, key, err := target(r.RequestURI)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	known := groupcache.GetGroup(group)
	if known == nil {
		http.Error(w, "no such group: "+group, http.StatusNotFound)
		return
	}
	var value []byte
	err = known.Get(r.Context(), key, groupcache.AllocatingByteSliceSink(&value))
	switch {
	case errors.Is(err, errNotFound):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Write(value)
	}
}

// target splits a raw request target at its first slashes, and decodes each part once.
func target(raw string) (group, key string, err error) {
	parts := strings.SplitN(strings.TrimPrefix(raw, "/v1/"), "/", 2)
	if !strings.HasPrefix(raw, "/v1/") || len(parts) != 2 {
		return "", "", errors.New("no such path: see /v1/{group}/{key}")
	}
	if group, err = url.PathUnescape(parts[0]); err != nil {
		return "", "", err
	}
	key, err = url.PathUnescape(parts[1])
	return group, key, err
}
