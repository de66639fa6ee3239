// One of two processes that use golang/groupcache as a Go team would: a server that owns every key and holds every
// value, and a client whose gets are all fetched from it. carrot-bench starts both and measures them from outside.
//
//	groupcache server -size N -keys K
//	groupcache client -owner URL -size N -keys K -callers C [-tuned] [-rate R] [-warm S] -seconds S
//
// The server prints "peer ADDRESS" once it holds all values, and ends when its standard input does. The client prints
// "begin" and "end JSON" at the ends of the stretch that counts. A value that has the wrong length, or that was loaded
// anywhere but once on the server, is an error.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/bits"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang/groupcache"
)

type settings struct {
	owner   string
	size    int
	keys    int
	callers int
	tuned   bool
	rate    float64
	warm    float64
	seconds float64
}

func main() {
	if len(os.Args) < 2 {
		fail(errors.New("server or client?"))
	}
	var told settings
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	flags.StringVar(&told.owner, "owner", "", "the server's URL")
	flags.IntVar(&told.size, "size", 100, "bytes of a value")
	flags.IntVar(&told.keys, "keys", 100000, "how many keys there are")
	flags.IntVar(&told.callers, "callers", 64, "gets at once")
	flags.BoolVar(&told.tuned, "tuned", false, "keep up to 4096 idle connections, where Go's default is 2")
	flags.Float64Var(&told.rate, "rate", 0, "gets a second, planned; 0: each caller asks again once it is answered")
	flags.Float64Var(&told.warm, "warm", 1, "seconds that are not counted")
	flags.Float64Var(&told.seconds, "seconds", 3, "seconds that are")
	if err := flags.Parse(os.Args[2:]); err != nil {
		fail(err)
	}
	var err error
	switch os.Args[1] {
	case "server":
		err = serve(told)
	case "client":
		err = ask(told)
	default:
		err = errors.New("server or client?")
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "groupcache:", err)
	os.Exit(1)
}

func name(key int) string { return fmt.Sprintf("key:%012d", key) }

// serve owns all keys, and loads each once before it says that it is there.
func serve(told settings) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	self := "http://" + listener.Addr().String()
	pool := groupcache.NewHTTPPoolOpts(self, nil)
	pool.Set(self)
	value := make([]byte, told.size)
	for i := range value {
		value[i] = byte('a' + i%26)
	}
	var loads int64
	group := groupcache.NewGroup("bench", 8<<30, groupcache.GetterFunc(
		func(_ context.Context, key string, dest groupcache.Sink) error {
			if atomic.AddInt64(&loads, 1) > int64(told.keys) {
				return fmt.Errorf("%s was loaded twice", key)
			}
			return dest.SetBytes(value)
		}))
	for key := 0; key < told.keys; key++ {
		var loaded groupcache.ByteView
		if err := group.Get(context.Background(), name(key), groupcache.ByteViewSink(&loaded)); err != nil {
			return err
		}
	}
	failed := make(chan error, 2)
	go func() { failed <- http.Serve(listener, pool) }()
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		failed <- err
	}()
	fmt.Println("peer", listener.Addr())
	return <-failed
}

// caller is what one goroutine finds.
type caller struct {
	latency histogram
	values  int64
	errors  int64
	first   string
}

// counting: whether what is answered now is counted.
const (
	warming = iota
	counting
	over
)

func ask(told settings) error {
	pool := groupcache.NewHTTPPoolOpts("http://127.0.0.1:1", nil)
	if told.tuned {
		transport := &http.Transport{MaxIdleConns: 4096, MaxIdleConnsPerHost: 4096}
		pool.Transport = func(context.Context) http.RoundTripper { return transport }
	}
	// Only the owner: no key is this process's own.
	pool.Set(told.owner)
	// No bytes for values: each get is a fetch.
	group := groupcache.NewGroup("bench", 0, groupcache.GetterFunc(
		func(_ context.Context, key string, dest groupcache.Sink) error {
			return fmt.Errorf("%s was loaded by the client", key)
		}))
	names := make([]string, told.keys)
	for key := range names {
		names[key] = name(key)
	}
	var phase int32
	due := make(chan planned, 1<<14)
	var leftOut int64
	callers := make([]caller, told.callers)
	var running sync.WaitGroup
	for at := range callers {
		running.Add(1)
		go func(at int) {
			defer running.Done()
			mine := &callers[at]
			random := uint64(at)*0x9E3779B97F4A7C15 + 88172645463325252
			for {
				random ^= random << 13
				random ^= random >> 7
				random ^= random << 17
				from, counts := time.Now(), true
				if told.rate > 0 {
					next, open := <-due
					if !open {
						return
					}
					from, counts = next.at, next.counts
				} else if atomic.LoadInt32(&phase) == over {
					return
				}
				var value groupcache.ByteView
				err := group.Get(context.Background(), names[random%uint64(told.keys)], groupcache.ByteViewSink(&value))
				if err == nil && value.Len() != told.size {
					err = fmt.Errorf("a value of %d bytes", value.Len())
				}
				if told.rate == 0 {
					counts = atomic.LoadInt32(&phase) == counting
				}
				if err != nil {
					// Never forgiven, not even before it counts.
					mine.errors++
					mine.first = err.Error()
				} else if counts {
					mine.values++
					mine.latency.record(time.Since(from))
				}
			}
		}(at)
	}
	if told.rate > 0 {
		go pace(told, due, &leftOut)
	}
	time.Sleep(span(told.warm))
	fmt.Println("begin")
	began := time.Now()
	atomic.StoreInt32(&phase, counting)
	time.Sleep(span(told.seconds))
	atomic.StoreInt32(&phase, over)
	lasted := time.Since(began)
	running.Wait()
	if told.rate > 0 {
		// What was planned and came late counts, and so does the time that it took.
		lasted = time.Since(began)
	}
	return tell(callers, lasted, atomic.LoadInt64(&leftOut))
}

func span(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

// planned is a get and when it is due: its latency counts from there, whatever became of those before.
type planned struct {
	at     time.Time
	counts bool
}

// pace hands out each get when it is due.
func pace(told settings, due chan<- planned, leftOut *int64) {
	start := time.Now()
	for number := 0; ; number++ {
		after := span(float64(number) / told.rate)
		if after >= span(told.warm+told.seconds) {
			break
		}
		at := start.Add(after)
		if wait := time.Until(at); wait > 0 {
			time.Sleep(wait)
		}
		counts := after >= span(told.warm)
		select {
		case due <- planned{at, counts}:
		default:
			if counts {
				atomic.AddInt64(leftOut, 1)
			}
		}
	}
	close(due)
}

func tell(callers []caller, lasted time.Duration, leftOut int64) error {
	var all caller
	all.errors = leftOut
	if leftOut > 0 {
		all.first = "not sent: too far behind"
	}
	for at := range callers {
		all.values += callers[at].values
		all.errors += callers[at].errors
		if callers[at].first != "" {
			all.first = callers[at].first
		}
		all.latency.add(&callers[at].latency)
	}
	micros := func(part float64) float64 { return float64(all.latency.quantile(part)) / 1e3 }
	text, err := json.Marshal(map[string]interface{}{
		"asked": all.values, "seconds": lasted.Seconds(), "errors": all.errors, "first_error": all.first,
		"p50_us": micros(0.5), "p90_us": micros(0.9), "p99_us": micros(0.99), "p99_9_us": micros(0.999),
		"max_us": float64(all.latency.max) / 1e3,
	})
	if err != nil {
		return err
	}
	_, err = fmt.Println("end", string(text))
	return err
}

// histogram has 128 buckets for each doubling of nanoseconds, as the other clients of the bench.
type histogram struct {
	buckets [58 * 128]uint64
	count   uint64
	max     uint64
}

func (h *histogram) record(took time.Duration) {
	ns := uint64(took)
	h.buckets[bucket(ns)]++
	h.count++
	if ns > h.max {
		h.max = ns
	}
}

func (h *histogram) add(other *histogram) {
	for at, count := range other.buckets {
		h.buckets[at] += count
	}
	h.count += other.count
	if other.max > h.max {
		h.max = other.max
	}
}

func (h *histogram) quantile(part float64) uint64 {
	wanted, seen := uint64(part*float64(h.count)), uint64(0)
	if wanted == 0 {
		wanted = 1
	}
	for at, count := range h.buckets {
		if seen += count; seen >= wanted {
			if end := last(at); end < h.max {
				return end
			}
			return h.max
		}
	}
	return 0
}

func bucket(ns uint64) int {
	if ns < 128 {
		return int(ns)
	}
	doubling := bits.Len64(ns) - 8
	return (doubling+1)*128 + int(ns>>uint(doubling)) - 128
}

func last(bucket int) uint64 {
	if bucket < 128 {
		return uint64(bucket)
	}
	doubling := uint(bucket/128 - 1)
	return uint64(128+bucket%128)<<doubling + (1<<doubling - 1)
}
