// Judges histories that `nilas-linear --keep DIR` wrote with the library porcupine: a second opinion on our own checker.
//
// Each file holds keys with all their requests, and whether there should be an order for them. `cargo x linear --porcupine`
// starts this. Exit status 1 when porcupine thinks otherwise of any of them.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// Longest time for one key.
const timeMax = 2 * time.Minute

type shown struct {
	Label    *uint32 `json:"label"`
	IsMarker bool    `json:"is_marker"`
}

type request struct {
	Start     int64   `json:"start"`
	End       int64   `json:"end"`
	Label     uint32  `json:"label"`
	Call      string  `json:"call"`
	Condition string  `json:"condition"`
	Of        uint32  `json:"of"`
	Answer    string  `json:"answer"`
	Found     uint32  `json:"found"`
	Shown     []shown `json:"shown"`
}

type history struct {
	Name      string    `json:"name"`
	Versioned bool      `json:"versioned"`
	HasOrder  bool      `json:"has_order"`
	Rows      []request `json:"rows"`
}

// The versions of a key, newest first: labels, a marker's with `m` before it.
type stack []string

func decode(state string) stack {
	if state == "" {
		return nil
	}
	return strings.Split(state, " ")
}

func label(of uint32) string { return strconv.FormatUint(uint64(of), 10) }

// What follows a request, and how it is answered.
func serve(versions stack, versioned bool, asked request) (stack, string, string) {
	current := ""
	if 0 < len(versions) && versions[0][0] != 'm' {
		current = versions[0]
	}
	switch {
	case asked.Condition == "absent" && current != "":
		return versions, "refused", ""
	case asked.Condition == "is" && current == "":
		return versions, "missing", ""
	case asked.Condition == "is" && current != label(asked.Of):
		return versions, "refused", ""
	}
	push := func(name string) stack {
		if !versioned {
			return stack{name}
		}
		return append(stack{name}, versions...)
	}
	switch asked.Call {
	case "put":
		return push(label(asked.Label)), "done", ""
	case "delete":
		if versioned {
			return push("m" + label(asked.Label)), "done", ""
		}
		return nil, "done", ""
	case "delete_version":
		var left stack
		for _, version := range versions {
			if strings.TrimPrefix(version, "m") != label(asked.Of) {
				left = append(left, version)
			}
		}
		return left, "done", ""
	case "get":
		if current == "" {
			return versions, "missing", ""
		}
		return versions, "found", current
	case "get_version":
		for _, version := range versions {
			if version == label(asked.Of) {
				return versions, "found", version
			}
		}
		return versions, "missing", ""
	case "list_versions":
		return versions, "shown", strings.Join(versions, " ")
	}
	panic("no such call: " + asked.Call)
}

// Whether what was answered may be what is right.
func agrees(asked request, answer, what string) bool {
	if asked.Answer != answer {
		return false
	}
	switch answer {
	case "found":
		return label(asked.Found) == what
	case "shown":
		versions := decode(what)
		if len(versions) != len(asked.Shown) {
			return false
		}
		for at, version := range versions {
			told := asked.Shown[at]
			isMarker := version[0] == 'm'
			isKnown := told.Label != nil && label(*told.Label) == strings.TrimPrefix(version, "m")
			if told.IsMarker != isMarker || !isKnown && !(told.Label == nil && isMarker) {
				return false
			}
		}
	}
	return true
}

func model(versioned bool) porcupine.Model {
	several := porcupine.NondeterministicModel{
		Init: func() []interface{} { return []interface{}{""} },
		Step: func(state, input, _ interface{}) []interface{} {
			asked := input.(request)
			next, answer, what := serve(decode(state.(string)), versioned, asked)
			after := strings.Join(next, " ")
			if asked.Answer == "" {
				// Nobody knows whether it was done.
				return []interface{}{state, after}
			}
			if !agrees(asked, answer, what) {
				return nil
			}
			return []interface{}{after}
		},
	}
	return several.ToModel()
}

func main() {
	judged, otherwise := 0, 0
	for _, path := range os.Args[1:] {
		bytes, err := os.ReadFile(path)
		if err != nil {
			panic(err)
		}
		var keys []history
		if err := json.Unmarshal(bytes, &keys); err != nil {
			panic(fmt.Sprint(path, ": ", err))
		}
		for _, key := range keys {
			var operations []porcupine.Operation
			for _, row := range key.Rows {
				operations = append(operations, porcupine.Operation{Input: row, Call: row.Start, Return: row.End})
			}
			result := porcupine.CheckOperationsTimeout(model(key.Versioned), operations, timeMax)
			judged++
			if (result == porcupine.Ok) != key.HasOrder || result == porcupine.Unknown {
				otherwise++
				fmt.Println(path, key.Name, "has an order:", key.HasOrder, "porcupine:", result)
			}
		}
	}
	fmt.Printf("porcupine: %d histories judged, %d otherwise than ours\n", judged, otherwise)
	if otherwise != 0 || judged == 0 {
		os.Exit(1)
	}
}
