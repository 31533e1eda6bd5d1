// SPDX-License-Identifier: MIT
using System.Text;
using System.Text.Json;

namespace Ksplice.Cli.Commands;

/// <summary>JSON as the commands print it.</summary>
internal static class JsonText
{
    /// <summary>The indented text of what <paramref name="content"/> writes.</summary>
    public static string Write(Action<Utf8JsonWriter> content)
    {
        using var buffer = new MemoryStream();
        using (var writer = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true }))
            content(writer);
        return Encoding.UTF8.GetString(buffer.GetBuffer(), 0, (int)buffer.Length);
    }

    /// <summary>A list of texts; nothing where there is no list.</summary>
    public static void WriteNames(Utf8JsonWriter writer, string property, IEnumerable<string>? names)
    {
        if (names is null)
            return;
        writer.WriteStartArray(property);
        foreach (var name in names)
            writer.WriteStringValue(name);
        writer.WriteEndArray();
    }
}
