// Command bench measures the gateway beside OpenSSH, vsftpd and Postfix, where
// they are installed, and prints tables: transfers by SFTP, FTP and FTPS, logins,
// mail accepted durably, and memory of idle sessions. It is never a test.
//
// Each server is started privately, on a port of the kernel's choice on loopback,
// from folders that are removed afterwards. The gateway and its peer take turns
// (A B A B) under the same client, and the median of their rounds is printed, with
// ratios. Processor time is that of the server with all its descendants.
//
//	go run ./bench
//	go run ./bench -size 256 -only sftp,logins
//
// docs/performance.md says what was found, and how to read it. It reads /proc and
// therefore runs on Linux only.
package main
