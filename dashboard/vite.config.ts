// Builds the dashboard into dist/, and while it is written serves it beside a running gateway:
// MESHWARD_URL is the gateway, MESHWARD_TOKEN a token of it for who has no session there.

import { svelte } from '@sveltejs/vite-plugin-svelte';
import { svelteTesting } from '@testing-library/svelte/vite';
import type { ProxyOptions } from 'vite';
import { defineConfig } from 'vitest/config';

const gateway = process.env.MESHWARD_URL ?? 'http://127.0.0.1:8080';
const token = process.env.MESHWARD_TOKEN;

/** As the gateway sends it, so that what it would block is seen here first. */
const policy = [
  "default-src 'self'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data: blob:",
  "connect-src 'self'",
  "frame-ancestors 'none'",
  "base-uri 'none'",
  "form-action 'self'",
].join('; ');

const proxy: Record<string, ProxyOptions> = {
  '/api': {
    target: gateway,
    changeOrigin: true,
    headers: token ? { authorization: `Bearer ${token}` } : {},
  },
};

export default defineConfig({
  base: '/',
  plugins: [svelte(), svelteTesting()],
  build: { target: 'es2022', assetsInlineLimit: 0, reportCompressedSize: false, manifest: true },
  server: { host: '127.0.0.1', proxy },
  preview: { host: '127.0.0.1', proxy, headers: { 'content-security-policy': policy } },
  test: {
    environment: 'jsdom',
    include: ['src/**/*.test.ts'],
    setupFiles: ['src/test/setup.ts'],
  },
});
