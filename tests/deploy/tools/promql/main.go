// Parses PromQL expressions, one in each line of standard input. Prints a line for each, as JSON: its error, or the
// metrics that it reads.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"github.com/prometheus/prometheus/promql/parser"
)

type parsed struct {
	Error   string   `json:"error"`
	Metrics []string `json:"metrics"`
}

func parse(expression string) parsed {
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
	if err != nil {
		return parsed{Error: err.Error()}
	}
	result := parsed{Metrics: []string{}}
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			result.Metrics = append(result.Metrics, selector.Name)
		}
		return nil
	})
	return result
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	output := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		if err := output.Encode(parse(lines.Text())); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
