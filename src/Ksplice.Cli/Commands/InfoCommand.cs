// SPDX-License-Identifier: MIT
// ksplice info: what a package says of itself, and who signed it. It asks nothing of the machine but its list of trusted certificates.
using System.Text.Json;
using Ksplice.Build.Generation;
using Ksplice.Cli.Packages;
using Spectre.Console;

namespace Ksplice.Cli.Commands;

/// <summary>Shows a package.</summary>
public static class InfoCommand
{
    public static void Run(Session session, string path, bool json)
    {
        var package = KnownPackage.Of(PackageFile.Read(path));
        var trusted = session.Machine.Trusted;
        if (json)
        {
            session.Out.Profile.Out.Writer.WriteLine(
                JsonText.Write(writer =>
                {
                    writer.WriteStartObject();
                    writer.WritePropertyName("signature");
                    WriteSignature(writer, trusted.Judge(package));
                    writer.WritePropertyName("manifest");
                    writer.WriteRawValue(package.Text.Span);
                    writer.WriteEndObject();
                })
            );
            return;
        }

        var manifest = package.Manifest;
        void Line(string name, string text) => session.Out.MarkupLineInterpolated($"{name + ":", -13} {text}");
        Line("id", manifest.Id);
        foreach (var (name, text) in Identity(manifest))
            Line(name, text);
        Line("signature", Signature(trusted.Judge(package)));
        Line("kernel", manifest.Kernel.Release);
        foreach (var below in manifest.Base)
            Line("on top of", below.Id);
        foreach (var target in manifest.Targets)
        {
            Line("target", $"{target.Name}{(target.Late ? ", may be loaded after the update" : "")}");
            foreach (var function in target.Functions)
                Line("function", $"{function.Name} ({function.Unit})");
        }

        foreach (var patch in manifest.Patches)
            Line("patch", patch);
        if (manifest.Pinned)
            Line("after undo", "the primary module stays loaded");
        if (manifest.Data is { } data)
            Line("after undo", $"module {Path.GetFileNameWithoutExtension(data.Module)} stays loaded, with strings and constants");
        foreach (var acknowledged in manifest.Acknowledged)
            Line("acknowledged", $"{acknowledged.Id} of {acknowledged.Object}: {acknowledged.Reason} ({acknowledged.Source})");
        Line("built by", manifest.Tool);
    }

    /// <summary>What a person calls the update, by the names of the lines.</summary>
    internal static IEnumerable<(string Name, string Text)> Identity(UpdateManifest manifest)
    {
        yield return ("name", manifest.Name);
        if (manifest.Version is { } version)
            yield return ("version", version);
        if (manifest.Description is { } description)
            yield return ("for", description);
        foreach (string advisory in manifest.Advisories)
            yield return ("advisory", advisory);
    }

    /// <summary>The same as properties, and who signed it.</summary>
    internal static void WriteIdentity(Utf8JsonWriter writer, KnownPackage package, TrustedCertificates trusted)
    {
        var manifest = package.Manifest;
        writer.WriteString("name", manifest.Name);
        if (manifest.Version is { } version)
            writer.WriteString("version", version);
        if (manifest.Description is { } description)
            writer.WriteString("description", description);
        JsonText.WriteNames(writer, "advisories", manifest.Advisories);
        writer.WritePropertyName("signature");
        WriteSignature(writer, trusted.Judge(package));
    }

    /// <summary>Who signed, for people.</summary>
    internal static string Signature(SignatureState state) =>
        state switch
        {
            { IsSigned: false, IsTrusted: null } => "none",
            { IsSigned: false } => "none; this machine takes signed updates only",
            { IsTrusted: true } => $"{state.Signer}, trusted",
            { IsTrusted: null } => $"{state.Signer}; this machine has no list of whom it trusts",
            _ => $"{state.Signer}, NOT TRUSTED: {state.Detail}",
        };

    private static void WriteSignature(Utf8JsonWriter writer, SignatureState state)
    {
        writer.WriteStartObject();
        writer.WriteBoolean("signed", state.IsSigned);
        if (state.IsSigned)
            writer.WriteString("signer", state.Signer);
        if (state.IsTrusted is { } trusted)
            writer.WriteBoolean("trusted", trusted);
        writer.WriteEndObject();
    }
}
