// Package demo is a filled marketplace.
package demo
