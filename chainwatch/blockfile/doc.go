// Package blockfile is a [chainwatch.Source] over files of raw blocks: those of a
// node's blocks folder (blk*.dat), exports of them, plain concatenations of
// blocks, and any of these compressed with zstd.
//
// [Open] makes one pass that notes where each block stands, without holding any;
// then headers and blocks are answered from the files, which must stay as they
// are. Nothing ever arrives by itself: the source ends where the files end.
//
// # What is read
//
// A record is a network's magic, the length in four bytes (or ffffffff and the
// length in eight), little endian, and the block. Records may stand in any order
// in a file and across files, twice, or on branches that lost. Zeros between
// records are padding. What the content of a file is, framed or plain, is found
// out from its first bytes, whatever its name.
//
// # What is forgiven
//
// Nodes crash while they write, so these cost a warning and not the file: a last
// record that is cut short, a header without its proof of work, and other bytes
// between records, after which reading goes on at the next magic as the reference
// node does. In a plain concatenation nothing says where the next block begins,
// so what is no block there is an error with file and offset. Merkle roots are
// not checked here but by who reads the block.
package blockfile
